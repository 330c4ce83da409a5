// Which garment covers which part of the body. `margin` shrinks a garment, so that the skin below its edge stays.

bool top_covers(Rest r, float margin) {
    float dip = top_cut.z * (r.y < -0.03 ? 1.0 : 0.25) * max(0.0, 1.0 - r.x * r.x / 0.0072);
    float neckline = 0.862 - dip;
    return r.arm < top_cut.y - margin && (r.arm > 0.08 || r.z > top_cut.x + margin) && r.z < neckline - margin;
}

bool legs_cover(Rest r, float margin) {
    return r.arm < 0.12 && r.z < legs_cut.x - margin && r.z > legs_cut.y + margin;
}

bool coat_open_at(Rest r, float margin) {
    return coat.w < 1.5 && r.y < 0.02 && r.arm < 0.0 && abs(r.x) < 0.035 + 0.05 * (0.86 - r.z) + margin;
}

bool coat_covers(Rest r, float margin) {
    return coat.w > 0.5 && r.arm < coat_cut.y - margin && (r.arm > 0.08 || r.z > coat_cut.x + margin)
        && r.z < 0.872 && !coat_open_at(r, margin);
}

float hairline(Rest r) {
    float line = mix(0.966, 0.944, smoothstep(-0.105, -0.085, r.y));
    line = mix(line, 0.893, smoothstep(-0.035, -0.005, r.y));
    return line - hair_cut.y * smoothstep(-0.08, -0.12, r.y) + 0.0016 * sin(r.x * 310.0 + extra.x);
}

bool hair_covers(Rest r) {
    bool ear = abs(r.x) > 0.077 && r.z < 0.944 && r.y > -0.09 && r.y < -0.01;
    return r.z > 0.88 && r.z > hairline(r) && !ear && hair_cut.w < 0.5;
}

bool hidden(Rest r) {
#if LAYER == SKIN
    return top_covers(r, 0.012) || legs_cover(r, 0.012) || coat_covers(r, 0.02);
#elif LAYER == LEGS
    bool below_skirt = skirt.y > 0.5 && (skirt.y < 2.5 || skirt.z > 0.5) && r.z > skirt.x + 0.03
        && !(coat.w > 0.5 && coat.w < 1.5 && r.y < 0.0);
    return !legs_cover(r, 0.0) || below_skirt;
#elif LAYER == TOP
    return !top_covers(r, 0.0);
#elif LAYER == COAT
    return !coat_covers(r, 0.0);
#elif LAYER == SKIRT
    bool front_of_open_coat = skirt.y > 2.5 && coat.w < 1.5 && r.y < 0.0 && abs(r.x) < 0.06 + 0.05 * (0.85 - r.z);
    bool under_coat = skirt.y < 2.5 && coat.w > 1.5 && r.z > coat_cut.x + 0.03;
    return under_coat || r.z < skirt.x || (skirt.z > 0.5 && r.z > 0.545) || front_of_open_coat;
#elif LAYER == HAIR
    return !hair_covers(r);
#elif LAYER == LONG_HAIR
    float ragged = 0.012 * noise(vec3(r.x * 60.0, r.y * 60.0, extra.x));
    return r.z < hair_cut.x + ragged || (r.y < -0.075 && r.z < 0.957);
#else
    return false;
#endif
}
