/* Whether this build, on this processor, gives the bits of the definition. See self_test.c. */

#ifndef MPINN_SELF_TEST_H
#define MPINN_SELF_TEST_H

#include <stdint.h>

#define CASES 17

/* Learn, classify and merge made-up exemplars with every activation, loss, loop and optimizer; write a hash of the weights of each
   case. Returns 0, or -1 where there is no memory. */
int self_test(uint64_t hashes[CASES]);

/* Return the name of a case, and the hash that is right. */
const char *self_test_name(int number);
uint64_t self_test_hash(int number);

#endif
