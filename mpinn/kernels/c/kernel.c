/* How one worker learns one batch: per-exemplar stochastic gradient descent with elastic net regularisation, in
   float32, sparse, and with the same bits on every processor (docs/numerics.md). The mathematics is that of
   reference.py.

   Lazy elastic net. Most pixels of an image are dark, and the first-layer weights of a dark pixel are only shrunk. So a
   row of weights is touched when its pixel is lit; the shrinks that it has missed are then done at once, or at the end
   of the batch. (Delayed elastic net updates: Lipton and Elkan 2015, arXiv:1505.06449.)

   The weights are held as w = s_t u, s_t = (1 - a2)^t after t exemplars of the batch, as in Bottou's SvmSGD. One shrink,
   (1 - a2) w - a1 sgn(w) and 0 where that flips the sign, leaves u - (a1 / s_t+1) sgn(u), so many in a row subtract the
   sum of their thresholds. One running sum serves all rows, like the cumulative penalty of Tsuruoka et al. 2009 (ACL): a
   row keeps its value at the row's last shrink (`paid`), and owes the difference. (There a weight keeps what it really
   paid.) float32 cannot represent 1 - 8e-8, so nothing is multiplied by that: s_t scales the net input and the step,
   where its rounding does not matter, and at the end u - (1 - s) u is stored.

   A row that the exemplar before has touched owes nothing, as nearly half of them do: the forward pass adds up those
   that owe something first, then the others without a shrink.

   Momentum (V <- beta V + pull, w <- w + eta V at every exemplar) is lazy, too: V of a dark row only dies away, and moves
   the row by eta beta^i V meanwhile, a geometric series. It is done after the shrinks that the row has missed.

   Layout. The kernel works on a copy of its own. Rows are padded with zeros to whole vectors. The first layer has a row
   for each pixel, (inputs, units); the later ones are transposed, (units, inputs), so that their rows are long. Rows are
   processed in tiles of columns: the sums of a tile stay in registers while the rows pass. */

#define _POSIX_C_SOURCE 200809L

#include "kernel.h"

#include <stdlib.h>
#include <time.h>

#include "functions.h"
#include "rows.h"

#define GREY_LEVELS 256
#define CACHE_LINE 64
#define SAMPLED 8               /* the clock is read at every 8th exemplar: it takes as long as some rows */
#define BLOCK 2048              /* weights that are given at once: they stay in the nearest cache */
#define BETWEEN 32              /* exemplars between two calls of `between`: some 100 microseconds */

/* Hidden units that an exemplar is learned without: mpinn/model/dropout.py. */
typedef struct {
    uint32_t below;       /* of 2^24: the draws with which a unit is dropped; 0: none ever is */
    uint64_t seed, epoch; /* of the draws */
    float *scale, *shift, *dropped; /* (layers,) what a kept unit's phi is multiplied by, what is added; what others give */
} dropping;

struct kernel {
    int layers, bias, loss, dense; /* dense: a dark pixel counts, too: its phi is not 0 */
    float alpha;
    double learning_rate, a1, a2, momentum;
    int32_t *units, *codes;
    float *scale;         /* (layers,) one over the divisor */
    float *rate;          /* (layers,) by which the learning rate of the weights INTO a layer is multiplied */
    size_t *first_unit;   /* (layers + 1,) where a layer's values begin in phi and delta, and where they end */
    size_t *first_row;    /* (layers,) where the weights INTO a layer begin in w */
    size_t *stride;       /* (layers,) length of a row of them in w, whole vectors */
    size_t weights, parameters; /* in w, and in the network's order */
    size_t learned;       /* exemplars since the weights were loaded, */
    int stepped;          /* and whether they made steps, instead of gradients */
    float *block, *again; /* rows in the network's order; all of them, where a batch is too long for one span */
    float *w, *phi, *delta;
    float *net;           /* as phi: net inputs, of layers whose derivative needs them */
    float *whole, *keep;  /* as phi: of hidden layers what phi was before some were dropped, and what multiplies delta */
    dropping drop;
    float *sum;           /* as w: of gradients, or of pulls that die away by momentum */
    float *table;         /* (256,) the input layer's phi of each grey level */
    rows active;          /* first-layer rows that this exemplar touches */
    int32_t *paid;        /* (inputs + 1,) exemplars of the batch whose shrinks a first-layer row has had */
    int32_t *lit;         /* (inputs,) the pixels of an image that count */
    uint8_t lit_of_eight[256][8], count_of_eight[256]; /* of eight pixels, a bit each: the lit ones, how many */
    size_t span;          /* exemplars over which s may fall, to a half at most */
    size_t tabulated;     /* exemplars that the tables are made for */
    float *shrink, *lost; /* (span + 1,) s after t exemplars; 1 - s */
    float *threshold;     /* (span + 1,) the sum of a1 / s */
    float *step;          /* (span + 1,) the learning rate / s that the next exemplar sees */
    float *decay;         /* (span + 1,) what t exemplars leave of a velocity, momentum^t, */
    float *coast;         /* (span + 1,) and how far it has moved its row meanwhile, in steps of the first */
};

const char *kernel_vectors(void) { return VECTORS; }
int kernel_fused(void) { return FUSED; }

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static size_t padded(size_t count) { return (count + LANES - 1) / LANES * LANES; }

/* Zeros that begin at a cache line. */
static void *zeros(size_t count, size_t size)
{
    size_t bytes = (count * size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    void *memory = aligned_alloc(CACHE_LINE, bytes + CACHE_LINE);
    return memory ? memset(memory, 0, bytes + CACHE_LINE) : NULL;
}

/* ---- memory ---- */

/* Tabulate the shrinks of batches of up to `most` exemplars. Products and sums in double, one after another: exp and
   log differ from one C library to the next. */
static int tabulate(kernel *k, size_t most)
{
    double s = 1.0, threshold = 0.0, left = 1.0, way = 0.0, power = 1.0;
    size_t size = most + 1;
    free(k->shrink);
    k->span = k->tabulated = 0;
    if (!(k->shrink = zeros(6 * size, sizeof(float))))
        return -1;
    k->lost = k->shrink + size;
    k->threshold = k->lost + size;
    k->step = k->threshold + size;
    k->decay = k->step + size;
    k->coast = k->decay + size;
    for (size_t t = 0; t <= most; t++) {
        double after = s * (1.0 - k->a2);
        k->shrink[t] = (float)s;
        k->lost[t] = (float)(1.0 - s);
        k->threshold[t] = (float)threshold;
        k->step[t] = (float)(k->learning_rate / after);
        k->decay[t] = (float)(left < SMALLEST ? 0.0 : left);
        k->coast[t] = (float)way;
        k->span = t;
        if (t && s < 0.5)
            break;
        s = after;
        threshold += k->a1 / s;
        left *= k->momentum;
        power *= k->momentum / (1.0 - k->a2);
        way += power * (1.0 - k->a2);
    }
    k->tabulated = most;
    return 0;
}

kernel *kernel_new(int layers, const int32_t *units, const int32_t *codes, const int32_t *divisors, int loss, int bias,
                   double alpha, double learning_rate, const double *rates, double a1, double a2, double momentum)
{
    kernel *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->layers = layers;
    k->bias = bias != 0;
    k->loss = loss;
    k->alpha = (float)alpha;
    k->learning_rate = learning_rate;
    k->a1 = a1;
    k->a2 = a2;
    k->momentum = momentum;
    size_t n = (size_t)layers, values = 0, weights = 0, block = BLOCK;
    k->units = zeros(n, sizeof *k->units);
    k->codes = zeros(n, sizeof *k->codes);
    k->scale = zeros(n, sizeof *k->scale);
    k->rate = zeros(n, sizeof *k->rate);
    k->first_unit = zeros(n + 1, sizeof *k->first_unit);
    k->first_row = zeros(n, sizeof *k->first_row);
    k->stride = zeros(n, sizeof *k->stride);
    if (!k->units || !k->codes || !k->scale || !k->rate || !k->first_unit || !k->first_row || !k->stride)
        goto no_memory;
    for (int layer = 0; layer < layers; layer++) {
        size_t slots = padded((size_t)units[layer] + 1);
        k->units[layer] = units[layer];
        k->codes[layer] = codes[layer];
        k->scale[layer] = (float)(1.0 / divisors[layer]);
        k->rate[layer] = layer ? (float)rates[layer - 1] : 0.0f;
        k->first_unit[layer] = values;
        values += slots;
        k->first_row[layer] = weights;
        if (layer) {
            k->parameters += (size_t)(units[layer - 1] + k->bias) * (size_t)units[layer];
            block = (size_t)units[layer] > block ? (size_t)units[layer] : block;
        }
        if (layer == 1) {
            k->stride[1] = padded((size_t)units[1]);
            weights += ((size_t)units[0] + 1) * k->stride[1];
        } else if (layer > 1) {
            k->stride[layer] = padded((size_t)units[layer - 1] + 1);
            weights += (size_t)units[layer] * k->stride[layer];
        }
    }
    k->first_unit[layers] = values;
    k->weights = weights;
    size_t inputs = padded((size_t)units[0] + 1) + LANES; /* active_rows writes a whole vector beyond */
    k->w = zeros(weights, sizeof(float));
    k->sum = zeros(weights, sizeof(float));
    k->phi = zeros(values, sizeof(float));
    k->net = zeros(values, sizeof(float));
    k->block = zeros(block, sizeof(float));
    k->whole = zeros(values, sizeof(float));
    k->keep = zeros(values, sizeof(float));
    k->delta = zeros(2 * values, sizeof(float)); /* and behind it the steps: delta times the learning rate */
    k->table = zeros(GREY_LEVELS, sizeof(float));
    k->paid = zeros(inputs, sizeof *k->paid);
    k->lit = zeros(inputs, sizeof *k->lit);
    k->active.index = zeros(inputs, sizeof *k->active.index);
    k->active.phi = zeros(inputs, sizeof(float));
    k->active.owed = zeros(inputs, sizeof(float));
    k->active.coast = zeros(inputs, sizeof(float));
    k->active.decay = zeros(inputs, sizeof(float));
    if (!k->w || !k->sum || !k->phi || !k->net || !k->block || !k->whole || !k->keep || !k->delta || !k->table || !k->paid || !k->lit || !k->active.index || !k->active.phi ||
        !k->active.owed || !k->active.coast || !k->active.decay || tabulate(k, 1))
        goto no_memory;
    for (int grey = 0; grey < GREY_LEVELS; grey++)
        k->table[grey] = (float)grey;
    activate(k->codes[0], k->table, GREY_LEVELS, k->scale[0], k->alpha);
    for (int mask = 0; mask < 256; mask++)
        for (int i = 0; i < 8; i++)
            if (mask >> i & 1)
                k->lit_of_eight[mask][k->count_of_eight[mask]++] = (uint8_t)i;
    k->dense = k->table[0] != 0.0f;
    return k;
no_memory:
    kernel_free(k);
    return NULL;
}

void kernel_free(kernel *k)
{
    if (!k)
        return;
    void *parts[] = {k->units, k->codes, k->scale, k->rate,  k->first_unit,   k->first_row,  k->stride,
                     k->w,     k->sum,   k->phi,   k->net,   k->delta,        k->table,      k->paid,
                     k->lit,   k->shrink,          k->active.index,           k->active.phi, k->active.owed,
                     k->active.coast,                 k->active.decay,         k->whole,      k->keep,
                     k->drop.scale,    k->block,                      k->again};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        free(parts[i]);
    free(k);
}

int kernel_set_rate(kernel *k, double learning_rate, double a1, double a2)
{
    k->learning_rate = learning_rate;
    k->a1 = a1;
    k->a2 = a2;
    return tabulate(k, k->tabulated);
}

/* Copy weights from the network's order; what pads a row is 0, whatever was learned before: a NaN, say. Velocities begin
   at 0. */
static void load_weights(kernel *k, const float *weights)
{
    if (k->momentum > 0.0)
        memset(k->sum, 0, k->weights * sizeof(float));
    size_t columns = (size_t)k->units[1], stride = k->stride[1], inputs = (size_t)(k->units[0] + k->bias);
    for (size_t i = 0; i < inputs; i++, weights += columns) {
        memcpy(k->w + i * stride, weights, columns * sizeof(float));
        memset(k->w + i * stride + columns, 0, (stride - columns) * sizeof(float));
        k->paid[i] = 0;
    }
    for (int layer = 2; layer < k->layers; layer++) {
        float *to = k->w + k->first_row[layer];
        columns = (size_t)k->units[layer], stride = k->stride[layer], inputs = (size_t)(k->units[layer - 1] + k->bias);
        for (size_t i = 0; i < inputs; i++, weights += columns)
            for (size_t j = 0; j < columns; j++)
                to[j * stride + i] = weights[j];
        for (size_t j = 0; j < columns; j++)
            memset(to + j * stride + inputs, 0, (stride - inputs) * sizeof(float));
    }
}

/* How far a first-layer row that was touched last by exemplar `paid` has moved along its velocity when exemplar t comes. */
static float coasting(const kernel *k, size_t paid, size_t t) { return k->rate[1] * k->step[paid] * k->coast[t - paid]; }

/* Write n weights of a row, with the shrinks that it owes, and all of the batch that are multiplications. */
static void store_row(float *to, const float *row, const float *moving, size_t n, float owed, float coast, float lost)
{
    vec d = vec_all(owed), along = vec_all(coast), minus = vec_all(-lost);
    for (size_t j = 0; j < n; j += LANES) {
        vec u = vec_load(row + j);
        u = vec_sub(u, vec_cut(u, d));
        if (moving)
            u = vec_fma(along, vec_load(moving + j), u);
        u = vec_fma(minus, u, u);
        if (j + LANES <= n) {
            vec_store(to + j, u);
        } else {
            float rest[LANES];
            vec_store(rest, u);
            memcpy(to + j, rest, (n - j) * sizeof(float));
        }
    }
}

/* How many rows the weights INTO a layer have, in the network's order. */
static size_t rows_of(const kernel *k, int layer) { return (size_t)(k->units[layer - 1] + k->bias); }

/* Write rows `from` to `end` of the weights INTO a layer, in the network's order, with all shrinks of the first t
   exemplars. */
static void store_weights(const kernel *k, int layer, size_t from, size_t end, float *to, size_t t)
{
    const size_t columns = (size_t)k->units[layer], stride = k->stride[layer];
    const float *rows = k->w + k->first_row[layer];
    for (size_t i = from; i < end; i++, to += columns) {
        if (layer == 1) {
            const size_t paid = (size_t)k->paid[i];
            const float *moving = k->momentum > 0.0 ? k->sum + i * stride : NULL;
            store_row(to, rows + i * stride, moving, columns, k->threshold[t] - k->threshold[paid], coasting(k, paid, t),
                      k->lost[t]);
            continue;
        }
        for (size_t j = 0; j < columns; j++) {
            float u = rows[j * stride + i];
            to[j] = fmaf(-k->lost[t], u, u);
        }
    }
}

/* Write such rows of the mean of the gradients of `count` exemplars, and forget their sum. */
static void store_gradient(kernel *k, int layer, size_t from, size_t end, float *to, size_t count)
{
    const size_t columns = (size_t)k->units[layer], stride = k->stride[layer];
    const float share = (float)(k->rate[layer] / (double)count);
    float *rows = k->sum + k->first_row[layer];
    for (size_t i = from; i < end; i++, to += columns) {
        if (layer == 1) {
            float *row = rows + i * stride;
            for (size_t j = 0; j < columns; j++)
                to[j] = share * row[j];
            memset(row, 0, columns * sizeof(float));
            continue;
        }
        for (size_t j = 0; j < columns; j++) {
            to[j] = share * rows[j * stride + i];
            rows[j * stride + i] = 0.0f;
        }
    }
}

static void store_part(kernel *k, int layer, size_t from, size_t end, float *to)
{
    if (k->stepped)
        store_weights(k, layer, from, end, to, k->learned);
    else
        store_gradient(k, layer, from, end, to, k->learned);
}

static void store_all(kernel *k, float *to)
{
    for (int layer = 1; layer < k->layers; layer++) {
        store_part(k, layer, 0, rows_of(k, layer), to);
        to += rows_of(k, layer) * (size_t)k->units[layer];
    }
}

void kernel_give(kernel *k, void (*take)(void *, size_t, const float *, size_t), void *context)
{
    size_t first = 0;
    for (int layer = 1; layer < k->layers; layer++) {
        const size_t columns = (size_t)k->units[layer], rows = rows_of(k, layer);
        const size_t together = columns < BLOCK ? BLOCK / columns : 1;
        for (size_t i = 0; i < rows; i += together) {
            size_t end = i + together < rows ? i + together : rows, n = (end - i) * columns;
            store_part(k, layer, i, end, k->block);
            take(context, first, k->block, n);
            first += n;
        }
    }
}

/* ---- dropout ---- */

#define GOLDEN 0x9E3779B97F4A7C15u

static uint64_t mixed(uint64_t z)
{
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

int kernel_set_dropout(kernel *k, double rate, const double *scale, const double *shift, const double *dropped)
{
    const size_t n = (size_t)k->layers;
    k->drop.below = (uint32_t)(rate * 0x1p24 + 0.5);
    if (!k->drop.scale)
        k->drop.scale = zeros(3 * n, sizeof(float));
    if (!k->drop.scale)
        return -1;
    k->drop.shift = k->drop.scale + n;
    k->drop.dropped = k->drop.shift + n;
    for (size_t layer = 0; layer < n; layer++) {
        k->drop.scale[layer] = (float)scale[layer];
        k->drop.shift[layer] = (float)shift[layer];
        k->drop.dropped[layer] = (float)dropped[layer];
    }
    return 0;
}

void kernel_set_epoch(kernel *k, uint64_t seed, uint64_t epoch)
{
    k->drop.seed = seed;
    k->drop.epoch = epoch;
}

/* Drop units of a hidden layer. */
static void drop_units(kernel *k, int layer, float *phi, int32_t exemplar)
{
    const uint64_t parts[] = {k->drop.seed, k->drop.epoch, (uint64_t)exemplar, (uint64_t)layer};
    float *whole = k->whole + k->first_unit[layer], *keep = k->keep + k->first_unit[layer];
    uint64_t state = 0;
    for (int i = 0; i < 4; i++)
        state = mixed(state + parts[i] + GOLDEN);
    for (int j = 0; j < k->units[layer]; j++) {
        int kept = mixed(state += GOLDEN) >> 40 >= k->drop.below;
        whole[j] = phi[j];
        keep[j] = kept ? k->drop.scale[layer] : 0.0f;
        phi[j] = kept ? phi[j] * k->drop.scale[layer] + k->drop.shift[layer] : k->drop.dropped[layer];
    }
}

/* delta *= keep, of n units. */
static void keep_delta(float *delta, const float *keep, int n)
{
    for (int j = 0; j < n; j += LANES)
        vec_store(delta + j, vec_nonzero(vec_mul(vec_load(delta + j), vec_load(keep + j))));
}

/* ---- one exemplar ---- */

/* Find the first-layer rows that an image touches, the bias unit's last, with what each owes at exemplar t of the
   batch. Where it is learned each counts as paid from now on, exemplar t's own threshold included. */
static void active_rows(kernel *k, const uint8_t *image, size_t t, int learned)
{
    const size_t pixels = (size_t)k->units[0];
    const int32_t now = (int32_t)t;
    const float before = k->threshold[t];
    int32_t *lit = k->lit;
    size_t n = 0, i = 0;
    if (k->dense) {
        for (; i < pixels; i++)
            lit[i] = (int32_t)i;
        n = pixels;
    }
    for (; i + PIXELS <= pixels; i += PIXELS) {
        uint32_t mask = lit_pixels(image + i);
        for (int part = 0; part < PIXELS; part += 8) {
            unsigned eight = mask >> part & 0xFF;
            int32_t found[8];
            for (int j = 0; j < 8; j++)
                found[j] = (int32_t)i + part + k->lit_of_eight[eight][j];
            memcpy(lit + n, found, sizeof found);
            n += k->count_of_eight[eight];
        }
    }
    for (; i < pixels; i++) {
        lit[n] = (int32_t)i;
        n += image[i] != 0;
    }
    rows r = k->active;
    size_t owing = 0, even = n; /* from the front, and from the back */
    if (k->bias) { /* it owes nothing: every exemplar touches it */
        r.index[n] = (int32_t)pixels;
        r.phi[n] = 1.0f;
        r.owed[n] = r.coast[n] = 0.0f;
        r.decay[n++] = k->decay[learned];
        k->paid[pixels] = now + learned;
    }
    for (size_t j = 0, all = even; j < all; j++) {
        int32_t row = lit[j], paid = k->paid[row];
        size_t ours = paid == now; /* no branch: nobody could foresee it */
        even -= ours;
        size_t at = owing + ((even - owing) & -ours);
        owing += 1 - ours;
        k->paid[row] = now + learned;
        r.index[at] = row;
        r.phi[at] = k->table[image[row]];
        r.owed[at] = before - k->threshold[paid];
        if (k->momentum > 0.0) {
            r.coast[at] = coasting(k, (size_t)paid, t);
            r.decay[at] = k->decay[now - paid + learned];
        }
    }
    k->active.owing = (int)owing;
    k->active.count = (int)n;
}

/* Ask for the image of the next exemplar: in the epoch's random order no processor foresees it. (Inlined: GCC
   takes the call of a function that only does that for one that does nothing.) */
ALWAYS void fetch_ahead(const uint8_t *image, int pixels)
{
    for (int i = 0; i < pixels; i += CACHE_LINE)
        __builtin_prefetch(image + i);
}

/* Turn a layer's sums into its phi, with its bias unit's 1 and zeros behind. */
static void finish(kernel *k, int layer, float *net, size_t t)
{
    size_t n = (size_t)k->units[layer], end = k->first_unit[layer + 1] - k->first_unit[layer];
    const float scale = k->shrink[t] * k->scale[layer];
    if (needs_net(k->codes[layer]))
        scale_net(k->net + k->first_unit[layer], net, (int)n, scale);
    activate(k->codes[layer], net, (int)n, scale, k->alpha);
    memset(net + n, 0, (end - n) * sizeof(float));
    net[n] = k->bias ? 1.0f : 0.0f;
}

/* Forward, at exemplar t of the batch: every layer's phi. exemplar: whose units are dropped, or -1. */
static void think(kernel *k, size_t t, int32_t exemplar)
{
    const int dropping = k->drop.below && exemplar >= 0;
    float *net = k->phi + k->first_unit[1];
    memset(net, 0, k->stride[1] * sizeof(float));
    if (k->momentum > 0.0)
        add_moving_rows(net, k->w, k->sum, k->stride[1], k->active);
    else
        add_rows(net, k->w, k->stride[1], k->active);
    finish(k, 1, net, t);
    for (int layer = 2; layer < k->layers; layer++) {
        float *below = net;
        if (dropping)
            drop_units(k, layer - 1, below, exemplar);
        net = k->phi + k->first_unit[layer];
        multiply_rows(net, k->w + k->first_row[layer], k->stride[layer], k->units[layer], below);
        finish(k, layer, net, t);
    }
}

/* to = step * delta, of n units, and zeros behind. */
static void scale_delta(float *to, const float *delta, int n, size_t end, float step)
{
    for (int j = 0; j < n; j += LANES)
        vec_store(to + j, vec_nonzero(vec_mul(vec_all(step), vec_load(delta + j))));
    memset(to + n, 0, (end - (size_t)n) * sizeof(float));
}

/* Return a layer's phi as it was before any of it was dropped. */
static const float *whole(const kernel *k, int layer)
{
    return (k->drop.below ? k->whole : k->phi) + k->first_unit[layer];
}

/* Backward and update. A layer's weights give the delta of the layer below before they change. */
static void train(kernel *k, size_t t, int label)
{
    const float own = k->threshold[t + 1] - k->threshold[t], least = own < LEAST_THRESHOLD ? LEAST_THRESHOLD : own;
    int layer = k->layers - 1;
    float *steps = k->delta + k->first_unit[k->layers];
    float *delta = k->delta + k->first_unit[layer];
    output_delta(k->loss, k->codes[layer], delta, k->phi + k->first_unit[layer], k->units[layer], label, k->alpha);
    for (; layer > 1; layer--) {
        int n = k->units[layer - 1], n_above = k->units[layer];
        const float *phi = k->phi + k->first_unit[layer - 1], *net = k->net + k->first_unit[layer - 1];
        float *below = k->delta + k->first_unit[layer - 1];
        float *w = k->w + k->first_row[layer], *v = k->sum + k->first_row[layer], step = k->rate[layer] * k->step[t];
        if (k->momentum > 0.0) {
            back_moving_rows(below, w, v, k->stride[layer], n_above, delta, step, least, (float)k->momentum, phi);
        } else {
            scale_delta(steps, delta, n_above, (size_t)n_above, step);
            back_rows(below, w, k->stride[layer], n_above, delta, steps, least, phi);
        }
        differentiate(k->codes[layer - 1], below, whole(k, layer - 1), net, n, k->shrink[t], k->alpha);
        if (k->drop.below)
            keep_delta(below, k->keep + k->first_unit[layer - 1], n);
        delta = below;
    }
    if (k->momentum > 0.0) {
        scale_delta(steps, delta, k->units[1], k->stride[1], 1.0f);
        update_moving_rows(k->w, k->sum, k->stride[1], k->active, own, k->rate[1] * k->step[t], steps);
    } else {
        scale_delta(steps, delta, k->units[1], k->stride[1], k->rate[1] * k->step[t]);
        update_rows(k->w, k->stride[1], k->active, own, steps);
    }
}

/* Backward: add minus the gradient of an exemplar to the sum. */
static void add_gradient(kernel *k, int label)
{
    int layer = k->layers - 1;
    float *delta = k->delta + k->first_unit[layer], *padded = k->delta + k->first_unit[k->layers];
    output_delta(k->loss, k->codes[layer], delta, k->phi + k->first_unit[layer], k->units[layer], label, k->alpha);
    for (; layer > 1; layer--) {
        const float *phi = k->phi + k->first_unit[layer - 1], *net = k->net + k->first_unit[layer - 1];
        float *below = k->delta + k->first_unit[layer - 1];
        size_t first = k->first_row[layer];
        sum_rows(below, k->w + first, k->sum + first, k->stride[layer], k->units[layer], delta, phi);
        differentiate(k->codes[layer - 1], below, whole(k, layer - 1), net, k->units[layer - 1], 1.0f, k->alpha);
        if (k->drop.below)
            keep_delta(below, k->keep + k->first_unit[layer - 1], k->units[layer - 1]);
        delta = below;
    }
    scale_delta(padded, delta, k->units[1], k->stride[1], 1.0f);
    step_rows(k->sum, k->stride[1], k->active, padded);
}

/* ---- many ---- */

int kernel_learn(kernel *k, int stepping, const float *weights, const uint8_t *images, const int32_t *labels,
                 const int32_t *exemplars, size_t count, float *learned, double spent[2], int64_t *lost,
                 int (*between)(void *), void *context)
{
    const size_t pixels = (size_t)k->units[0];
    const float *phi = k->phi + k->first_unit[k->layers - 1];
    const int code = k->codes[k->layers - 1], classes = k->units[k->layers - 1];
    double began = seconds(), thinking = 0.0, training = 0.0;
    int64_t loss = 0;
    if (stepping && count > k->tabulated && tabulate(k, count))
        return -1;
    load_weights(k, weights);
    for (size_t done = 0; done < count;) {
        size_t span = stepping && k->span < count - done ? k->span : count - done;
        for (size_t t = 0; t < span; t++) {
            size_t now = done + t, step = stepping ? t : 0;
            double start = 0.0, thought = 0.0;
            if (now % SAMPLED == 0)
                start = seconds();
            active_rows(k, images + (size_t)exemplars[now] * pixels, step, stepping);
            if (now + 1 < count)
                fetch_ahead(images + (size_t)exemplars[now + 1] * pixels, k->units[0]);
            think(k, step, exemplars[now]);
            if (now % SAMPLED == 0)
                thinking += (thought = seconds()) - start;
            loss += loss_of(k->loss, code, phi, classes, labels[exemplars[now]]);
            if (stepping)
                train(k, t, labels[exemplars[now]]);
            else
                add_gradient(k, labels[exemplars[now]]);
            if (now % SAMPLED == 0)
                training += seconds() - thought;
            if (between && now % BETWEEN == 0) {
                double left = seconds();
                int stop = between(context);
                if (stop) {
                    memset(k->sum, 0, k->weights * sizeof(float));
                    return stop;
                }
                began += seconds() - left;
            }
        }
        k->stepped = stepping;
        k->learned = span;
        done += span;
        if (done < count) {
            if (!k->again && !(k->again = zeros(k->parameters, sizeof(float))))
                return -1;
            store_all(k, k->again);
            load_weights(k, k->again);
        } else if (learned) {
            store_all(k, learned);
        }
    }
    *lost = loss;
    double all = seconds() - began;
    spent[0] = count ? all * thinking / (thinking + training) : 0.0;
    spent[1] = all - spent[0];
    return 0;
}

void kernel_classify(kernel *k, const float *weights, const uint8_t *images, size_t count, int32_t *classes)
{
    const float *phi = k->phi + k->first_unit[k->layers - 1];
    load_weights(k, weights);
    for (size_t e = 0; e < count; e++) {
        int best = 0;
        active_rows(k, images + e * (size_t)k->units[0], 0, 0);
        think(k, 0, -1);
        for (int i = 1; i < k->units[k->layers - 1]; i++)
            if (phi[i] > phi[best])
                best = i;
        classes[e] = best;
    }
}

double kernel_bound(kernel *k, const float *weights, const uint8_t *images, const int32_t *exemplars, size_t count)
{
    const size_t stride = k->stride[1];
    float *net = k->phi + k->first_unit[1];
    double spent = 0.0;
    load_weights(k, weights);
    for (size_t t = 0; t < count; t++) {
        active_rows(k, images + (size_t)exemplars[t] * (size_t)k->units[0], 0, 0);
        double start = seconds();
        memset(net, 0, stride * sizeof(float));
        add_rows(net, k->w, stride, k->active);
        for (size_t j = 0; j < stride; j++)
            net[j] *= 1e-9f;
        step_rows(k->w, stride, k->active, net);
        spent += seconds() - start;
    }
    return spent;
}
