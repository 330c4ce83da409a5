// Smooth value noise that repeats every 32 units, mean 0.5.
uniform sampler3D noise_volume;

float noise(vec3 p) {
    return textureLod(noise_volume, p / 32.0, 0.0).r;
}
