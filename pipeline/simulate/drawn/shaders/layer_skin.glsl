uniform vec3 eye_at;  // |x|, -, height of the eyes of the resting body

vec3 face(Rest r, vec3 colour) {
    float side = abs(r.x);
    vec2 eye = vec2(side - eye_at.x, (r.z - eye_at.z) * 1.84);
    vec2 oval = eye * vec2(1.0, 1.8);
    colour = mix(colour, vec3(0.16, 0.12, 0.10), 0.75 * smoothstep(0.00032, 0.00018, dot(oval, oval)));
    if (abs(eye.y - 0.020) < 0.0045 && side > 0.012 && side < 0.052) colour = mix(colour, hair.rgb, 0.75);
    vec2 mouth = vec2(side / 0.024, (r.z - 0.8905) / 0.0038);
    colour *= mix(vec3(1.0), vec3(0.82, 0.58, 0.58), smoothstep(1.2, 0.6, dot(mouth, mouth)));
    bool jaw = r.z < 0.906 - 0.1 * max(0.0, 0.03 - side) && r.z > 0.862 && side < 0.07;
    if (skin.w > 0.5 && jaw && dot(mouth, mouth) > 1.1) colour = mix(colour, hair.rgb, 0.7);
    if (extra.y > 0.5 && abs(length(eye * vec2(1.0, 1.25)) - 0.019) < 0.0035) colour = vec3(0.05);
    return colour;
}

vec3 surface(Rest r) {
    vec3 colour = skin.rgb * (0.94 + 0.12 * noise(vec3(r.x, r.y, r.z * 1.84) * 30.0));
    if (r.arm > 1.05) colour *= vec3(1.03, 0.95, 0.93);
    if (r.z < shoes.w && r.arm < 0.05) {
        colour = r.z < 0.011 ? mix(vec3(0.07), vec3(0.8), extra.z) : shoes.rgb;
        if (r.y < -0.10 && r.z > 0.022 && r.z < 0.045 && mod(r.y * 60.0, 1.0) < 0.4) colour *= 1.25;
    } else if (r.z > 0.855 && r.y < -0.06) {
        colour = face(r, colour);
    }
    float stubble = hair_cut.w * 0.25 + 0.5 * (1.0 - hair_cut.w);
    if (r.z > 0.88 && r.z > hairline(r) && abs(r.x) < 0.077) colour = mix(colour, hair.rgb, stubble);
    return colour;
}
