vec3 surface(Rest r) {
    vec3 strands = vec3(r.x, r.y, r.z * 1.84) * mix(vec3(150.0, 60.0, 40.0), vec3(120.0), step(1.0, hair_cut.z));
    return hair.rgb * (0.62 + 0.75 * noise(strands + extra.x));
}
