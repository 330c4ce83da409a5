// A skinned vertex, moved out along its normal by what lies between the skin and this layer.
in vec3 position;  // posed, world metres
in vec3 normal;
in vec4 rest;      // x, y, height, along the arm

uniform mat4 view_projection;

out vec3 world;
out vec3 world_normal;
out vec4 at_rest;
invariant gl_Position;

float distance_from_skin(Rest r) {
#if LAYER == SKIN
    return r.z < shoes.w && r.arm < 0.05 ? 0.012 : 0.0;
#elif LAYER == LEGS
    return ease.x + ease.w * smoothstep(0.45, 0.08, r.z);
#elif LAYER == TOP
    return ease.y * (1.0 + 0.6 * smoothstep(0.72, 0.56, r.z));
#elif LAYER == COAT
    return ease.z;
#elif LAYER == SKIRT
    float cloth = skirt.y > 2.5 ? ease.z + 0.004 : ease.y + 0.004;
    return cloth + skirt.w * clamp((0.58 - r.z) / 0.4, 0.0, 1.0);
#elif LAYER == HAIR
    float curls = 1.0 + hair_cut.z * (noise(vec3(r.x, r.y, r.z * 1.84) * 70.0 + extra.x) - 0.5);
    return 0.003 + hair.w * curls * smoothstep(-0.004, 0.022, r.z - hairline(r));
#elif LAYER == LONG_HAIR
    return 0.004;
#else
    return 0.0;
#endif
}

void main() {
    world = position + normal * distance_from_skin(Rest(rest.x, rest.y, rest.z, rest.w));
    world_normal = normal;
    at_rest = rest;
    gl_Position = view_projection * vec4(world, 1.0);
}
