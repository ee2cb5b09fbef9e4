/* Prints the largest error of e^x and tanh x, in units in the last place, over a few million numbers. */

#include <stdio.h>

#include "functions.h"

static double units(float found, double right)
{
    return fabs((double)found - right) / ldexp(1.0, (int)floor(log2(fabs(right))) - 23);
}

int main(void)
{
    double e = 0.0, t = 0.0;
    for (int i = 0; i < 3000000; i++) {
        float x[LANES], y[LANES], z[LANES];
        for (int j = 0; j < LANES; j++)
            x[j] = (i % 2 ? -1.0f : 1.0f) * ldexpf(1.0f + (float)((i * 2654435761u + (unsigned)j * 40503u) >> 9) * 0x1p-23f, i % 31 - 25);
        vec v = vec_load(x);
        vec_store(y, vec_exponential(v));
        vec_store(z, vec_tanh(v));
        for (int j = 0; j < LANES; j++) {
            if (fabsf(x[j]) < 80.0f)
                e = fmax(e, units(y[j], exp((double)x[j])));
            t = fmax(t, units(z[j], tanh((double)x[j])));
        }
    }
    printf("%.3f %.3f\n", e, t);
    return 0;
}
