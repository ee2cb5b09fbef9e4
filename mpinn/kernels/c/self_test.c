/* Some hundred made-up exemplars through every path of kernel.c and merge.c, against hashes that are written here. They
   take two milliseconds, and a compiler, flag or processor that changes a bit is found before the first round. */

#include "self_test.h"

#include <stdlib.h>

#include "functions.h"
#include "kernel.h"
#include "merge.h"
#include "optimizers.h"

#define MOST_LAYERS 4
#ifndef EXEMPLARS
#define EXEMPLARS 10 /* that each of two workers learns */
#endif

typedef struct {
    const char *name;
    int layers;
    int32_t units[MOST_LAYERS], codes[MOST_LAYERS];
    int loss, bias, normalised;
    double l1, l2;
    uint64_t hash;
    int gradients; /* whether they are taken, and followed by every optimizer */
    double momentum, dropout;
} example;

/* 138 units take all tiles: 13 vectors, 4 and 1. 45 pixels are no whole words. */
static const example EXAMPLES[CASES] = {
    {"elu", 3, {45, 138, 10}, {IDENTITY, ELU, SOFTMAX}, QUADRATIC, 1, 1, 1e-4, 1e-4, 0x7166d213e7c3d518u, 0, 0.0, 0.0},
    {"no shrink", 3, {45, 100, 10}, {IDENTITY, ELU, SOFTMAX}, QUADRATIC, 1, 1, 0, 0, 0x7947ed8daa2ee7a7u, 0, 0.0, 0.0},
    {"l1", 3, {64, 30, 3}, {IDENTITY, ELU, SOFTMAX}, QUADRATIC, 1, 1, 1e-3, 0, 0xf5d943b2fc9ac2f0u, 0, 0.0, 0.0},
    {"l2", 3, {64, 30, 3}, {IDENTITY, ELU, SOFTMAX}, QUADRATIC, 1, 1, 0, 0.3, 0xdd19ddd792fb4d53u, 0, 0.0, 0.0},
    {"cross-entropy", 3, {45, 24, 10}, {IDENTITY, ELU, SOFTMAX}, CROSS_ENTROPY, 1, 1, 1e-5, 1e-5, 0xb6ea2788603e57d5u, 0, 0.0, 0.0},
    {"relu", 4, {45, 40, 17, 10}, {IDENTITY, RELU, RELU, SOFTMAX}, CROSS_ENTROPY, 1, 1, 1e-5, 1e-5, 0xac5d7730c0aaf7fdu, 0, 0.0, 0.0},
    {"leaky-relu", 4, {45, 40, 17, 10}, {IDENTITY, LEAKY_RELU, LEAKY_RELU, SOFTMAX}, QUADRATIC, 1, 1, 1e-5, 1e-5, 0xea5ec89ab73d8b26u, 0, 0.0, 0.0},
    {"sigmoid", 4, {45, 40, 17, 10}, {IDENTITY, SIGMOID, SIGMOID, SOFTMAX}, CROSS_ENTROPY, 1, 1, 1e-5, 1e-5, 0x2a77cd34d5771e92u, 0, 0.0, 0.0},
    {"tanh", 4, {45, 40, 17, 10}, {IDENTITY, TANH, TANH, SOFTMAX}, CROSS_ENTROPY, 1, 0, 1e-5, 1e-5, 0x5c67fef77c4b6834u, 0, 0.0, 0.0},
    {"dense", 3, {45, 20, 10}, {SIGMOID, TANH, SOFTMAX}, QUADRATIC, 1, 1, 1e-5, 1e-5, 0xa10dfa1353c3d826u, 0, 0.0, 0.0},
    {"no bias", 3, {45, 20, 10}, {ELU, ELU, SOFTMAX}, QUADRATIC, 0, 0, 1e-5, 1e-5, 0xb4a1ef655f697672u, 0, 0.0, 0.0},
    {"no hidden layer", 2, {45, 10}, {TANH, SOFTMAX}, CROSS_ENTROPY, 1, 1, 1e-5, 1e-5, 0xf4324a0c954b4dc7u, 0, 0.0, 0.0},
    {"selu", 4, {45, 40, 17, 10}, {IDENTITY, SELU, SELU, SIGMOID}, QUADRATIC, 1, 1, 1e-5, 1e-5, 0xeefe4d2df6908581u, 1, 0.0, 0.0},
    {"gelu", 4, {45, 138, 17, 10}, {IDENTITY, GELU, GELU, SOFTMAX}, QUADRATIC_EXACT, 1, 1, 1e-5, 1e-5, 0xddbf6c46d0ffb672u, 1, 0.0, 0.0},
    {"momentum", 4, {45, 138, 17, 10}, {IDENTITY, ELU, TANH, SOFTMAX}, QUADRATIC, 1, 1, 1e-4, 1e-4, 0xada9e3bd32170b50u, 0, 0.9, 0.0},
    {"dropout", 4, {45, 138, 17, 10}, {IDENTITY, SELU, ELU, SOFTMAX}, QUADRATIC, 1, 1, 1e-4, 1e-4, 0x94a589d6273f447au, 1, 0.0, 0.25},
    {"identity", 3, {45, 30, 10}, {IDENTITY, ELU, IDENTITY}, QUADRATIC, 0, 1, 0, 0, 0xe4f203d26b4bbfc3u, 1, 0.0, 0.0},
};

const char *self_test_name(int number) { return EXAMPLES[number].name; }
uint64_t self_test_hash(int number) { return EXAMPLES[number].hash; }

/* xorshift64*: Vigna 2016, arXiv:1402.6246. */
static uint32_t next_bits(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)(*state * 2685821657736338717u >> 32);
}

/* FNV-1a. */
static uint64_t hashed(uint64_t hash, const void *data, size_t size)
{
    for (const unsigned char *byte = data; size > 0; byte++, size--)
        hash = (hash ^ *byte) * 1099511628211u;
    return hash;
}

static int32_t divisor(const example *e, int layer)
{
    return e->normalised ? e->units[layer] + (e->bias && layer < e->layers - 1) : 1;
}

/* A gradient is followed by one optimizer after the other, each for three rounds: a hash of the weights and moments. */
static int follow(const example *e, kernel *k, float *w, size_t n, const uint8_t *images, const int32_t *labels,
                  const int32_t *order, uint64_t *hash)
{
    float *direction = w + n, *moments[MOMENTS] = {w + 2 * n, w + 3 * n};
    double spent[2];
    int64_t lost;
    for (int code = 0; code < OPTIMIZERS; code++) {
        memset(w + 2 * n, 0, 2 * n * sizeof *w);
        for (int round = 0; round < 3; round++) {
            const float first = code == RPROP ? (round ? 0.0f : 0.01f) : 0.75f;
            const float sixth = code == RPROP ? (float)(round == 2) : 0.25f;
            const float c[NUMBERS] = {first, 1.25f, 0.5f, 0.001f, 1.5f, sixth, 0.01f, 0.02f};
            if (kernel_learn(k, 0, w, images, labels, order, EXEMPLARS, direction, spent, &lost, NULL, NULL))
                return -1;
            *hash = hashed(*hash, &lost, sizeof lost);
            optimize(code, w, moments, direction, n, (float)e->l1, (float)e->l2, c);
            *hash = hashed(*hash, direction, n * sizeof *w);
        }
        *hash = hashed(*hash, w, n * sizeof *w);
        *hash = hashed(*hash, moments[0], 2 * n * sizeof *w);
    }
    return 0;
}

/* Two workers learn from the same weights, and are merged in each format: a hash of all that comes of it. */
static int try(const example *e, uint64_t *hash)
{
    uint64_t state = 88172645463325252u;
    size_t n = 0, pixels = (size_t)e->units[0];
    int32_t divisors[MOST_LAYERS], labels[2 * EXEMPLARS], order[2 * EXEMPLARS], classes[2 * EXEMPLARS];
    for (int layer = 0; layer < e->layers; layer++) {
        divisors[layer] = divisor(e, layer);
        if (layer)
            n += (size_t)(e->units[layer - 1] + e->bias) * (size_t)e->units[layer];
    }
    const double rates[MOST_LAYERS - 1] = {1.0, e->gradients ? 0.7 : 1.0, e->gradients ? 1.3 : 1.0};
    float *w = malloc(6 * n * sizeof *w);
    double *sums = malloc(n * sizeof *sums);
    int16_t *terms = malloc(4 * n * sizeof *terms);
    uint8_t *images = malloc(2 * EXEMPLARS * pixels);
    kernel *k = kernel_new(e->layers, e->units, e->codes, divisors, e->loss, e->bias, 0.5, 0.8, rates, 0.8 * e->l1, 0.8 * e->l2,
                           e->momentum);
    int done = -1;
    if (!w || !sums || !terms || !images || !k)
        goto end;
    for (size_t i = 0; i < n; i++)
        w[i] = ((float)(next_bits(&state) >> 8) - 0x1p23f) * 0x1p-26f;
    for (size_t i = 0; i < 2 * EXEMPLARS * pixels; i++) {
        uint32_t bits = next_bits(&state);
        images[i] = bits & 0xC0000000 ? 0 : (uint8_t)(bits >> 8 & (e->normalised ? 255 : 3));
    }
    for (int i = 0; i < 2 * EXEMPLARS; i++) {
        labels[i] = (int32_t)(next_bits(&state) >> 8) % e->units[e->layers - 1];
        order[i] = (i * 7 + 3) % (2 * EXEMPLARS);
    }
    const double scale[MOST_LAYERS] = {1.0, 1.125, 1.25, 1.0}, shift[MOST_LAYERS] = {0.0, 0.25, 0.0, 0.0};
    const double dropped[MOST_LAYERS] = {0.0, -1.5, 0.0, 0.0};
    if (e->dropout > 0.0 && kernel_set_dropout(k, e->dropout, scale, shift, dropped))
        goto end;
    kernel_set_epoch(k, 3, 2);
    double spent[2];
    int64_t lost;
    float *velocity = w + 3 * n, *master = w + 4 * n, *ahead = w + 5 * n;
    int32_t *wide = (int32_t *)(void *)(terms + 2 * n);
    memset(velocity, 0, n * sizeof *velocity);
    memcpy(master, w, n * sizeof *master);
    for (size_t worker = 0; worker < 2; worker++) {
        float *learned = w + (1 + worker) * n;
        if (kernel_learn(k, 1, w, images, labels, order + worker * EXEMPLARS, EXEMPLARS, learned, spent, &lost, NULL,
                         NULL))
            goto end;
        *hash = hashed(*hash, &lost, sizeof lost);
        *hash = hashed(*hash, learned, n * sizeof *learned);
    }
    kernel_classify(k, w + n, images, 2 * EXEMPLARS, classes);
    *hash = hashed(*hash, classes, sizeof classes);
    for (int turn = 0; turn < 2; turn++) {
        largest found = merge_store_int16(terms, 0, w + n, master, n, 4096.0f, 2047.0f);
        *hash = hashed(*hash, &found, sizeof found);
        merge_store_int16(turn ? terms : terms + n, turn, w + 2 * n, master, n, 1234.5f, 200.0f);
        if (!turn)
            merge_add_int16(terms, terms + n, n);
        merge_move_int16(master, turn ? velocity : NULL, terms, n, 0x1p-12 / 3, 0.875);
        *hash = hashed(*hash, master, n * sizeof *master);
        merge_go_on_int16(ahead, master, turn ? velocity : NULL, terms, n, 0x1p-12, 0.4375);
        *hash = hashed(*hash, ahead, n * sizeof *ahead);
    }
    memset(wide, 0, n * sizeof *wide);
    merge_store_int32(wide, 1, w + n, master, n, 65536.0f, 4194303.0f);
    merge_move_int32(master, velocity, wide, n, 0x1p-16 / 3, 0.875);
    *hash = hashed(*hash, master, n * sizeof *master);
    merge_go_on_int32(ahead, master, velocity, wide, n, 0x1p-16, 0.4375);
    *hash = hashed(*hash, ahead, n * sizeof *ahead);
    merge_store_float64(sums, 0, w + 2 * n, n, 7.0, 0x1.8p16);
    merge_move_float64(master, velocity, sums, n, 1.0 / 7, 0.875);
    *hash = hashed(*hash, master, n * sizeof *master);
    merge_move_float32(master, velocity, w, n, 1.0, 0.875);
    *hash = hashed(*hash, master, n * sizeof *master);
    *hash = hashed(*hash, velocity, n * sizeof *velocity);
    done = e->gradients ? follow(e, k, w, n, images, labels, order, hash) : 0;
end:
    kernel_free(k);
    free(images);
    free(terms);
    free(sums);
    free(w);
    return done;
}

int self_test(uint64_t hashes[CASES])
{
    for (int i = 0; i < CASES; i++) {
        hashes[i] = 14695981039346656037u;
        if (try(EXAMPLES + i, hashes + i))
            return -1;
    }
    return 0;
}
