vec3 surface(Rest r) {
    vec3 colour = cloth(legs_a.rgb, legs_b.rgb, int(legs_a.w), legs_b.w, r);
    if (legs_cut.z > 0.5 && r.z > legs_cut.x - 0.016) return vec3(0.09, 0.065, 0.05);
    if (abs(r.x) < 0.004 && r.z > 0.46) colour *= 0.8;
    return colour;
}
