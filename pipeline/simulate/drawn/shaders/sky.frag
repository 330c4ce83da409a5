in vec2 at;

layout(location = 0) out vec4 colour;
layout(location = 1) out uint person;

uniform vec3 zenith;
uniform vec3 horizon;
uniform mat4 inverse_view_projection;

void main() {
    vec4 near = inverse_view_projection * vec4(at, -1.0, 1.0), far = inverse_view_projection * vec4(at, 1.0, 1.0);
    vec3 ray = normalize(far.xyz / far.w - near.xyz / near.w);
    float clouds = smoothstep(0.45, 0.75, noise(ray / max(ray.z, 0.08) * vec3(1.6, 1.6, 0.0) + 3.0));
    vec3 blue = mix(horizon, zenith, smoothstep(0.0, 0.5, ray.z));
    colour = vec4(mix(blue, horizon, 0.6 * clouds), 1.0);
    person = 0u;
}
