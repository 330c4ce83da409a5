in vec3 position;
in vec3 normal;
in vec3 tint;

uniform mat4 view_projection;

out vec3 world;
out vec3 world_normal;
out vec3 base;

void main() {
    world = position;
    world_normal = normal;
    base = tint;
    gl_Position = view_projection * vec4(position, 1.0);
}
