// Linear blend skinning; the result is captured by transform feedback.
in vec3 rest_position;
in vec3 rest_normal;
in vec4 bone_weight;
in uvec4 bone_index;

uniform mat4 bones[21];

out vec3 position;
out vec3 normal;

void main() {
    mat4 blend = bone_weight.x * bones[bone_index.x] + bone_weight.y * bones[bone_index.y]
        + bone_weight.z * bones[bone_index.z] + bone_weight.w * bones[bone_index.w];
    position = (blend * vec4(rest_position, 1.0)).xyz;
    normal = normalize(mat3(blend) * rest_normal);
}
