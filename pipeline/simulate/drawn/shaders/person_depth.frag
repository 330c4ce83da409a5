in vec3 world;
in vec3 world_normal;
in vec4 at_rest;

void main() {
    if (hidden(Rest(at_rest.x, at_rest.y, at_rest.z, at_rest.w))) discard;
}
