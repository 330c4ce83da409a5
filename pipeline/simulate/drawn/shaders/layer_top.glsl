vec3 surface(Rest r) {
    vec3 colour = cloth(top_a.rgb, top_b.rgb, int(top_a.w), top_b.w, r);
    if (top_cut.w > 0.5 && r.arm > 0.02) colour = top_b.rgb;
    bool on_front = r.y < -0.02;
    if (print_at.w > 0.5 && r.arm < 0.0 && on_front == (print_at.w < 2.5)) {
        vec2 q = (vec2(r.x, r.z) - print_at.xy) / print_at.z * vec2(1.0, 1.84);
        bool disc = dot(q, q) < 1.0;
        bool letters = abs(q.x) < 1.2 && abs(q.y) < 1.0 && fract(q.y * 2.0) < 0.6
            && noise(vec3(floor(q * vec2(7.0, 2.0)), extra.x) * 5.0) > 0.45;
        if (print_at.w < 1.5 ? disc : letters) colour = top_b.rgb;
    }
    return with_straps(colour, r);
}
