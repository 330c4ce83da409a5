layout(location = 0) out vec4 colour;
layout(location = 1) out uint person;

uniform float person_id;

void main() {
    Rest r = Rest(at_rest.x, at_rest.y, at_rest.z, at_rest.w);
    vec3 normal = normalize(world_normal);
    if (!gl_FrontFacing) normal = -normal;
    vec3 albedo = surface(r);
    float openness = 1.0;
#if LAYER == SKIN || LAYER == LEGS
    if (r.arm < 0.0 && r.z < 0.5 && r.z > 0.3 && abs(r.x) < 0.05) openness = 0.7;  // between the legs
#endif
#if FOLDED
    float height = folds(r);
    normal = bumped(normal, world, height * FOLD_DEPTH);
    albedo *= 0.88 + 0.16 * height;
    openness *= 0.8 + 0.2 * clamp(height, 0.0, 1.0);
#endif
    colour = vec4(to_display(lit(clamp(albedo, 0.0, 1.0), normal, world, openness)), 1.0);
    person = uint(person_id + 0.5);
}
