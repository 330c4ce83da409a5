// Patterns of cloth, and folds.
vec3 cloth(vec3 a, vec3 b, int pattern, float scale, Rest r) {
    float down = r.arm > 0.05 ? 1.45 - r.arm * 0.5 : r.z * 1.84;
    vec3 at = vec3(r.x, r.y, r.z);
    if (pattern == 1) return mod(down * 12.0 * scale, 1.0) < 0.5 ? a : b;                       // stripes
    if (pattern == 2) return mod(r.x * 20.0 * scale, 1.0) < 0.5 ? a : b;                        // pinstripes
    if (pattern == 3) {                                                                         // check
        vec2 band = step(0.5, fract(vec2(r.x, down) * 14.0 * scale));
        return mix(a, b, 0.5 * (band.x + band.y));
    }
    if (pattern == 4) return r.z > 0.70 ? a : b;                                                // colour block
    if (pattern == 5) return mod(down * 5.0 * scale + 0.3, 1.0) < 0.22 ? b : a;                 // a few bands
    if (pattern == 6) return mix(a, b, smoothstep(0.48, 0.56, noise(at * 14.0 * scale + extra.x)));  // blotches
    if (pattern == 7) {                                                                         // dots
        vec2 cell = fract(vec2(r.x, down) * 18.0 * scale) - 0.5;
        return dot(cell, cell) < 0.07 ? b : a;
    }
    if (pattern == 8) return abs(r.y + 0.01) < 0.025 && abs(r.x) > 0.1 ? b : a;                 // stripe at the side
    if (pattern == 9) {                                                                         // washed denim
        float faded = smoothstep(0.13, 0.0, abs(r.z - 0.38)) * step(r.y, 0.0);
        return a * (0.85 + 0.3 * noise(at * vec3(40.0, 40.0, 14.0))) * (1.0 + 0.22 * faded);
    }
    if (pattern == 10) return mix(a, b, 0.7 * noise(at * vec3(130.0, 130.0, 60.0)) - 0.1);      // melange
    return a;
}

float folds(Rest r) {
    vec3 at = vec3(r.x, r.y, r.z);
    return noise(at * vec3(13.0, 13.0, 7.0) + extra.x) + 0.5 * noise(at * vec3(30.0, 30.0, 18.0) + extra.x + 3.0);
}

// The normal of a surface raised by `height` metres, from screen-space derivatives (Mikkelsen 2010).
vec3 bumped(vec3 normal, vec3 world, float height) {
    vec3 dx = dFdx(world), dy = dFdy(world);
    vec3 rx = cross(dy, normal), ry = cross(normal, dx);
    float det = dot(dx, rx);
    vec3 slope = sign(det) * (dFdx(height) * rx + dFdy(height) * ry);
    return normalize(abs(det) * normal - slope + 1e-9 * normal);
}

// Straps of a bag over a garment.
vec3 with_straps(vec3 cloth_colour, Rest r) {
    if (r.arm > 0.0) return cloth_colour;
    if (bag.w == 1.0 && r.y < 0.03 && abs(abs(r.x) - 0.105) < 0.022 && r.z > 0.66) return bag.rgb * 0.8;
    if (bag.w == 2.0 && abs(r.x * 0.78 + (r.z * 1.84 - 1.28) * 0.62) < 0.018) return bag.rgb * 0.7;
    return cloth_colour;
}
