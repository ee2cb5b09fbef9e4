/* Prints a hash of what a build of the kernel and the merge comes to: of every case of the self-test, or of one network
   that is described by arguments: layers, then units, codes of activations, loss, bias, normalised, l1, l2. */

#include <stdio.h>

#include "self_test.c"

int main(int count, char **words)
{
    uint64_t hash;
    if (count == 1) {
        uint64_t hashes[CASES];
        if (self_test(hashes))
            return 2;
        for (int i = 0; i < CASES; i++)
            printf("%s %016llx\n", self_test_name(i), (unsigned long long)hashes[i]);
        fprintf(stderr, "%s, %s\n", kernel_vectors(), kernel_fused() ? "fused" : "not fused");
        return 0;
    }
    example one = {.name = "asked", .layers = atoi(words[1]), .gradients = 1};
    char **word = words + 2;
    for (int i = 0; i < one.layers; i++)
        one.units[i] = atoi(*word++);
    for (int i = 0; i < one.layers; i++)
        one.codes[i] = atoi(*word++);
    one.loss = atoi(*word++);
    one.bias = atoi(*word++);
    one.normalised = atoi(*word++);
    one.l1 = atof(*word++);
    one.l2 = atof(*word++);
    hash = 0;
    if (try(&one, &hash))
        return 2;
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
