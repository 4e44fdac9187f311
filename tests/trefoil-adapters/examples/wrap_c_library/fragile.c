/* A small C library with the faults that C libraries have. The first byte of a row is its kind. */
#include <stdlib.h>
#include <string.h>

static int broken; /* once set, the library cannot be used any more in this process */

/* The sum of the row's bytes. 0: done; 1: not a row; 2: the state is broken; 3: out of memory. */
int fragile_sum(const unsigned char *row, size_t length, int *sum) {
    volatile int *nowhere = (volatile int *)8;
    volatile int forever = 1;
    void *lost;
    if (length == 0) return 1;
    if (broken) return 2;
    switch (row[0]) {
    case 'S': return *nowhere;                        /* a wild pointer */
    case 'H': while (forever) { } break;              /* an endless loop */
    case 'L':                                         /* memory that is never freed */
        lost = malloc(96 << 20);
        if (lost == NULL) return 3;
        memset(lost, 1, 96 << 20);
        break;
    case 'E': exit(3);                                /* "I give up" */
    case 'C': broken = 1; return 2;                   /* a half-finished change */
    }
    *sum = 0;
    for (size_t i = 1; i < length; i++) *sum += row[i];
    return 0;
}
