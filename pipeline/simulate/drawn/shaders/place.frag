in vec3 world;
in vec3 world_normal;
in vec3 base;

layout(location = 0) out vec4 colour;
layout(location = 1) out uint person;

uniform sampler2D contact_map;  // how much people shade the floor around their feet
uniform vec4 contact_area;      // left, bottom, 1 / width, 1 / height

void main() {
    vec3 normal = normalize(world_normal);
    if (!gl_FrontFacing) normal = -normal;
    vec3 albedo = clamp(surface(world, normal, base), 0.0, 1.0);
#if ON_FLOOR
    float openness = 1.0 - 0.75 * texture(contact_map, (world.xy - contact_area.xy) * contact_area.zw).r;
#else
    float openness = 1.0;
#endif
#if SURFACE == PANEL
    colour = vec4(albedo, 1.0);  // it shines
#else
    colour = vec4(to_display(lit(albedo, normal, world, openness)), 1.0);
#endif
    person = 0u;
}
