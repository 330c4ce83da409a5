vec3 surface(Rest r) {
    vec3 colour = LAYER == BAG ? bag.rgb : hat.rgb;
    if (LAYER == BAG && extra.z > 0.5 && fract(world.z * 9.0) < 0.08) colour *= 0.6;
    return colour * (0.9 + 0.2 * noise(world * 25.0));
}
