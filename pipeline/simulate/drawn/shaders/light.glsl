// One sun (or bright window, or row of lamps) with a shadow map, light from the sky and back from the floor,
// and pools of light below lamps.
uniform vec3 sun_direction;   // unit, towards the sun
uniform vec3 sun_colour;
uniform vec3 sky_colour;      // light from above
uniform vec3 floor_colour;    // light from below
uniform vec3 lamp_colour;
uniform float lamp_spacing;   // metres
uniform float exposure;
uniform mat4 shadow_matrix;
uniform sampler2DShadow shadow_map;
uniform float shadow_blur;    // in texels

float sunlit(vec3 world) {
    vec3 at = (shadow_matrix * vec4(world, 1.0)).xyz * 0.5 + 0.5;
    if (any(lessThan(at.xy, vec2(0.0))) || any(greaterThan(at.xy, vec2(1.0)))) return 1.0;
    vec2 texel = shadow_blur / vec2(textureSize(shadow_map, 0));
    float seen = 0.0;
    for (int i = -1; i <= 1; i += 2)
        for (int j = -1; j <= 1; j += 2)
            seen += texture(shadow_map, vec3(at.xy + vec2(i, j) * texel, at.z - 0.0015));
    return seen * 0.25;
}

vec3 lit(vec3 albedo, vec3 normal, vec3 world, float openness) {
    float facing = max(dot(normal, sun_direction), 0.0);
    vec3 light = mix(floor_colour, sky_colour, 0.5 + 0.5 * normal.z) * openness;
    light += sun_colour * facing * (facing > 0.0 ? sunlit(world) : 0.0);
    float pool = 0.5 + 0.5 * cos(6.2832 * world.x / lamp_spacing) * cos(6.2832 * world.y / lamp_spacing);
    light += lamp_colour * pool * pool * (0.45 + 0.55 * max(normal.z, 0.0)) * openness;
    return pow(albedo, vec3(2.2)) * light;
}

vec3 to_display(vec3 radiance) {
    vec3 exposed = radiance * exposure;
    return pow(exposed / (1.0 + 0.25 * exposed), vec3(1.0 / 2.2));
}
