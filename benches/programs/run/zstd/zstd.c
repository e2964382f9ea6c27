/* Zstandard's library, from Debian's sources: compresses generated text at several levels, decompresses it, and compares. */
#include "../program.h"

#include "zstd.h"

enum { SIZE = 1 << 19 };

static char input[SIZE], packed[SIZE + SIZE / 128 + 512], unpacked[SIZE];

static void make_text(void) {
  static const char *const words[] = {"the ",   "store ",  "holds ", "each ",     "instance", ", and ",  "memory ", "of ",
                                      "a ",     "module ", "is ",    "compiled ", "once.\n",  "(call ",  "local ",  "\"\" ",
                                      "table ", "0x",      "  ",     "function ", "returns ", "where\t", "--",      "= "};
  for (size_t at = 0; at < SIZE;) {
    const char *word = words[random_below(COUNT(words))];
    while (*word && at < SIZE) input[at++] = *word++;
    for (uint32_t digits = random_below(8) ? 0 : random_below(6); digits && at < SIZE; digits--) input[at++] = (char)('0' + random_below(10));
  }
}

int64_t run(int32_t n) {
  static const int levels[] = {1, 3, 6, 9};
  uint64_t hash = 0;
  random_seed(34);
  ZSTD_CCtx *compressor = ZSTD_createCCtx();
  ZSTD_DCtx *decompressor = ZSTD_createDCtx();
  if (!compressor || !decompressor) return -1;
  for (int round = 0; round < n; round++) {
    make_text();
    for (size_t i = 0; i < COUNT(levels); i++) {
      size_t size = ZSTD_compressCCtx(compressor, packed, sizeof packed, input, SIZE, levels[i]);
      if (ZSTD_isError(size)) return -2;
      hash = mix_bytes(hash, packed, size);
      for (int again = 0; again < 4; again++)
        if (ZSTD_decompressDCtx(decompressor, unpacked, SIZE, packed, size) != SIZE) return -3;
      if (memcmp(input, unpacked, SIZE)) return -4;
    }
  }
  ZSTD_freeCCtx(compressor);
  ZSTD_freeDCtx(decompressor);
  return checksum(hash);
}
