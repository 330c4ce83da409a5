// One person's clothes; the order of members is that of pipeline/simulate/drawn/clothes.py.
// Heights are shares of the body height of the rest pose, lengths along the arm are 0 (shoulder) .. 1 (wrist).
layout(std140) uniform Outfit {
    vec4 skin;       // rgb, beard 0/1
    vec4 hair;       // rgb, volume in metres
    vec4 hair_cut;   // lowest height of long hair, fringe, curl, bald 0/1
    vec4 top_a;      // rgb, pattern
    vec4 top_b;      // rgb, scale of the pattern
    vec4 top_cut;    // hem, end of sleeves, depth of the neckline, raglan sleeves 0/1
    vec4 legs_a;     // rgb, pattern
    vec4 legs_b;     // rgb, scale of the pattern
    vec4 legs_cut;   // waist, end of the trousers, belt 0/1, -
    vec4 skirt;      // hem, cloth 0 none 1 legs 2 top 3 coat, bridges the legs only 0/1, flare in metres
    vec4 coat;       // rgb, 0 none 1 open 2 closed
    vec4 coat_cut;   // hem, end of sleeves, reflective band 0/1, yoke in top_b 0/1
    vec4 shoes;      // rgb, height
    vec4 bag;        // rgb, kind 0 none 1 backpack 2 shoulder 3 hand
    vec4 hat;        // rgb, kind
    vec4 print_at;   // x, height, size, kind 0 none 1 disc 2 letters 3 letters on the back
    vec4 ease;       // metres between skin and trousers, top, coat; flare of trousers
    vec4 extra;      // seed, glasses 0/1, light soles 0/1, -
};

struct Rest {  // where a fragment lies on the resting body
    float x, y, z, arm;  // metres, metres, share of the height, along the arm (negative off the arms)
};
