vec3 surface(Rest r) {
    vec3 colour = coat.rgb;
    if (coat.w > 1.5 && abs(r.x) < 0.006 && r.y < 0.0 && r.arm < 0.0) colour *= 0.5;
    if (coat_cut.z > 0.5 && abs(r.z - 0.66) < 0.012) colour = vec3(0.8);
    if (coat_cut.w > 0.5 && r.z > 0.7) colour = mix(colour, top_b.rgb, 0.85);
    return with_straps(colour, r);
}
