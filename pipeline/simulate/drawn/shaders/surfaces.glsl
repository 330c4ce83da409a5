// What places are made of. `base` is the tint of the object; one program is compiled per kind.
float mottle(vec3 p) {
    return noise(p * 0.7) * 0.5 + noise(p * 5.0) * 0.3 + noise(p * 19.0) * 0.2;
}

float random(vec2 cell) {
    return fract(sin(dot(cell, vec2(12.9898, 78.233))) * 43758.5453);
}

vec2 along_wall(vec3 world, vec3 normal) {
    return vec2(abs(normal.x) > 0.5 ? world.y : world.x, world.z);
}

vec3 surface(vec3 world, vec3 normal, vec3 base) {
#if SURFACE == ASPHALT
    return base * (0.65 + 0.4 * mottle(world) + 0.3 * noise(world * 31.0));
#elif SURFACE == SLABS
    vec2 at = fract(world.xy / 1.2);
    float joint = at.x < 0.03 || at.y < 0.03 ? 0.65 : 1.0;
    return base * joint * (0.7 + 0.4 * mottle(world) + 0.2 * random(floor(world.xy / 1.2)));
#elif SURFACE == COBBLES
    vec2 grid = world.xy / 0.14;
    grid.x += 0.5 * mod(floor(grid.y), 2.0);
    vec2 at = fract(grid);
    float joint = min(min(at.x, 1.0 - at.x), min(at.y, 1.0 - at.y)) < 0.09 ? 0.62 : 1.0;
    return base * joint * (0.6 + 0.3 * mottle(world) + 0.35 * random(floor(grid)));
#elif SURFACE == TILES
    vec2 at = fract(world.xy / 0.6);
    float joint = at.x < 0.02 || at.y < 0.02 ? 0.75 : 1.0;
    return base * joint * (0.92 + 0.1 * mottle(world) + 0.06 * random(floor(world.xy / 0.6)));
#elif SURFACE == CONCRETE
    return base * (0.8 + 0.35 * mottle(world));
#elif SURFACE == GRASS
    return base * (0.45 + 0.6 * mottle(world) + 0.5 * (noise(world * 37.0) - 0.5));
#elif SURFACE == CARPET
    vec2 motif = fract(world.xy / 0.8) - 0.5;
    return base * (0.8 + 0.3 * noise(world * 33.0)) * (dot(motif, motif) < 0.04 ? 0.75 : 1.0);
#elif SURFACE == WOOD
    float plank = floor(world.y / 0.15);
    return base * (0.7 + 0.3 * random(vec2(plank, floor(world.x / 1.7 + plank * 0.37)))
        + 0.25 * noise(vec3(world.x * 4.0, world.y * 60.0, 1.0)));
#elif SURFACE == FACADE
    vec2 grid = along_wall(world, normal) / vec2(2.4, 3.0);
    vec2 at = fract(grid);
    vec3 colour = base * (0.85 + 0.3 * noise(world * 3.0)) * (world.z < 0.4 ? 0.6 : 1.0);
    bool window = at.x > 0.22 && at.x < 0.78 && at.y > 0.3 && at.y < 0.82;
    bool frame = at.x < 0.25 || at.x > 0.75 || at.y < 0.33 || at.y > 0.79 || abs(at.x - 0.5) < 0.015;
    vec3 glass = mix(vec3(0.08, 0.10, 0.13), vec3(0.45, 0.5, 0.55), noise(vec3(floor(grid) * 9.0, at.y * 3.0)));
    return window ? (frame ? vec3(0.75) * base + 0.2 : glass) : colour;
#elif SURFACE == SHOPFRONT
    vec2 grid = along_wall(world, normal) / vec2(3.2, 4.0);
    vec2 at = fract(grid);
    if (world.z > 2.9) return mix(base, vec3(random(floor(grid)), random(floor(grid) + 3.0), 0.4), 0.6);
    if (at.x < 0.04 || world.z < 0.35) return base * 0.5;
    float goods = noise(vec3(along_wall(world, normal) * vec2(4.0, 3.0), floor(grid.x) * 7.0));
    return mix(vec3(0.12, 0.13, 0.15), vec3(0.75, 0.68, 0.55), goods * goods);
#elif SURFACE == BRICK
    vec2 grid = along_wall(world, normal) / vec2(0.24, 0.075);
    grid.x += 0.5 * mod(floor(grid.y), 2.0);
    vec2 at = fract(grid);
    return at.x < 0.05 || at.y < 0.12 ? vec3(0.62, 0.6, 0.56) : base * (0.75 + 0.4 * random(floor(grid)));
#elif SURFACE == PLASTER
    float skirting = world.z < 0.12 ? 0.55 : 1.0;
    return base * skirting * (0.9 + 0.15 * mottle(world));
#elif SURFACE == POSTER
    vec2 at = along_wall(world, normal);
    float ink = noise(vec3(at * vec2(2.2, 2.6), base.x * 31.0));
    float block = step(0.55, noise(vec3(floor(at * 5.0), base.y * 17.0)));
    return mix(base, vec3(base.z, base.x, base.y), smoothstep(0.4, 0.6, ink)) * (0.6 + 0.5 * block);
#elif SURFACE == GOODS
    vec2 grid = along_wall(world, normal) / vec2(0.11, 0.34);
    vec2 at = fract(grid), cell = floor(grid);
    float tall = 0.45 + 0.45 * random(vec2(floor(cell.x / 5.0), cell.y));
    vec3 pack = vec3(random(floor(cell / vec2(5.0, 1.0))), random(floor(cell / vec2(5.0, 1.0)) + 7.0),
        random(floor(cell / vec2(5.0, 1.0)) + 13.0));
    pack = mix(vec3(dot(pack, vec3(0.333))), pack, 0.55);
    if (at.y < 0.08) return base;
    return at.y > tall ? base * 0.25 : pack * (at.x < 0.12 ? 0.5 : 0.8 + 0.2 * random(cell));
#elif SURFACE == LEAVES
    return base * (0.35 + 1.1 * noise(world * 9.0) * noise(world * 23.0 + 5.0) * 2.0);
#elif SURFACE == PANEL
    return base;
#else
    return base * (0.85 + 0.25 * noise(world * 6.0));
#endif
}
