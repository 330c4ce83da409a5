vec3 surface(Rest r) {
    if (skirt.y < 1.5) return cloth(legs_a.rgb, legs_b.rgb, int(legs_a.w), legs_b.w, r);
    if (skirt.y < 2.5) return cloth(top_a.rgb, top_b.rgb, int(top_a.w), top_b.w, r);
    return coat.rgb;
}
