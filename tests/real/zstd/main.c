/* Compresses and decompresses in the ways that zstd offers, prints a checksum of everything that
 * comes out, and writes one compressed file. */
#define ZSTD_STATIC_LINKING_ONLY
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "zdict.h"
#include "zstd.h"

static uint64_t seed = 88172645463325252ull;

static uint32_t next(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (uint32_t)(seed >> 16);
}

static uint64_t checksum(const void *data, size_t size) {
  const unsigned char *bytes = data;
  uint64_t hash = 14695981039346656037ull;
  for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 1099511628211ull;
  return hash;
}

static void die(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static size_t check(size_t result, const char *what) {
  if (ZSTD_isError(result)) {
    fprintf(stderr, "%s: %s\n", what, ZSTD_getErrorName(result));
    exit(1);
  }
  return result;
}

/* Words of a small vocabulary, with numbers and noise between them. */
static void fill(unsigned char *data, size_t size) {
  static const char *words[] = {"linear ", "memory ", "table ",  "function ", "module ", "import ",
                                "export ", "global ", "\n    ",  "(local ",   "end\n",   "trap "};
  size_t at = 0;
  while (at < size) {
    char piece[64];
    int len;
    switch (next() % 8) {
      case 0: len = snprintf(piece, sizeof piece, "%u ", next() % 100000); break;
      case 1:
        len = (int)(next() % 32);
        for (int i = 0; i < len; i++) piece[i] = (char)next();
        break;
      default: len = snprintf(piece, sizeof piece, "%s", words[next() % 12]); break;
    }
    for (int i = 0; i < len && at < size; i++) data[at++] = (unsigned char)piece[i];
  }
}

static void levels(const char *name, const unsigned char *data, size_t size, int max_level) {
  size_t bound = ZSTD_compressBound(size);
  unsigned char *packed = malloc(bound), *unpacked = malloc(size + 1);
  if (!packed || !unpacked) die("out of memory");
  for (int level = -5; level <= max_level; level++) {
    if (level == 0) continue;
    size_t n = check(ZSTD_compress(packed, bound, data, size, level), "compress");
    size_t m = check(ZSTD_decompress(unpacked, size, packed, n), "decompress");
    if (m != size || memcmp(data, unpacked, size)) die("decompressed data differ");
    printf("%s level %d: %zu -> %zu, %016llx\n", name, level, size, n,
           (unsigned long long)checksum(packed, n));
  }
  free(packed);
  free(unpacked);
}

static void streaming(const unsigned char *data, size_t size, const char *path) {
  ZSTD_CCtx *cctx = ZSTD_createCCtx();
  check(ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, 9), "level");
  check(ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1), "checksum");
  check(ZSTD_CCtx_setParameter(cctx, ZSTD_c_enableLongDistanceMatching, 1), "long distance");
  check(ZSTD_CCtx_setParameter(cctx, ZSTD_c_windowLog, 20), "window");
  FILE *file = fopen(path, "wb");
  if (!file) die("cannot open the file to write");
  unsigned char buffer[4099];
  size_t at = 0, total = 0;
  for (;;) {
    size_t chunk = 1 + next() % 10000;
    if (chunk > size - at) chunk = size - at;
    ZSTD_inBuffer in = {data + at, chunk, 0};
    at += chunk;
    ZSTD_EndDirective end = at == size ? ZSTD_e_end : ZSTD_e_continue;
    size_t left;
    do {
      ZSTD_outBuffer out = {buffer, sizeof buffer, 0};
      left = check(ZSTD_compressStream2(cctx, &out, &in, end), "stream");
      if (fwrite(buffer, 1, out.pos, file) != out.pos) die("cannot write");
      total += out.pos;
    } while (end == ZSTD_e_end ? left != 0 : in.pos < in.size);
    if (at == size) break;
  }
  if (fclose(file)) die("cannot close");
  ZSTD_freeCCtx(cctx);
  printf("stream: %zu -> %zu\n", size, total);

  file = fopen(path, "rb");
  if (!file) die("cannot open the file to read");
  ZSTD_DCtx *dctx = ZSTD_createDCtx();
  unsigned char *unpacked = malloc(size + 1);
  ZSTD_outBuffer out = {unpacked, size + 1, 0};
  size_t n;
  while ((n = fread(buffer, 1, 1009, file)) > 0) {
    ZSTD_inBuffer in = {buffer, n, 0};
    while (in.pos < in.size) check(ZSTD_decompressStream(dctx, &out, &in), "unstream");
  }
  fclose(file);
  if (out.pos != size || memcmp(data, unpacked, size)) die("streamed data differ");
  ZSTD_freeDCtx(dctx);
  free(unpacked);
}

static void dictionary(void) {
  enum { SAMPLES = 2000, SIZE = 300 };
  unsigned char *samples = malloc(SAMPLES * SIZE);
  size_t *sizes = malloc(SAMPLES * sizeof *sizes);
  for (int i = 0; i < SAMPLES; i++) {
    fill(samples + i * SIZE, SIZE);
    sizes[i] = SIZE;
  }
  unsigned char dict[16384], packed[1024], unpacked[SIZE];
  size_t n = ZDICT_trainFromBuffer(dict, sizeof dict, samples, sizes, SAMPLES);
  if (ZDICT_isError(n)) die(ZDICT_getErrorName(n));
  printf("dictionary: %zu, id %u, %016llx\n", n, ZDICT_getDictID(dict, n),
         (unsigned long long)checksum(dict, n));
  ZSTD_CCtx *cctx = ZSTD_createCCtx();
  ZSTD_DCtx *dctx = ZSTD_createDCtx();
  size_t total = 0;
  for (int i = 0; i < 100; i++) {
    size_t k = check(ZSTD_compress_usingDict(cctx, packed, sizeof packed, samples + i * SIZE, SIZE,
                                             dict, n, 5), "compress with dictionary");
    total += k;
    check(ZSTD_decompress_usingDict(dctx, unpacked, SIZE, packed, k, dict, n), "with dictionary");
    if (memcmp(unpacked, samples + i * SIZE, SIZE)) die("data with dictionary differ");
  }
  printf("with dictionary: %d -> %zu\n", 100 * SIZE, total);
  ZSTD_freeCCtx(cctx);
  ZSTD_freeDCtx(dctx);
}

/* A checksum protects the contents, so that damage is found wherever it is. */
static void damage(const unsigned char *data, size_t size) {
  size_t bound = ZSTD_compressBound(size);
  unsigned char *packed = malloc(bound), *unpacked = malloc(size);
  ZSTD_CCtx *cctx = ZSTD_createCCtx();
  check(ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1), "checksum");
  size_t n = check(ZSTD_compress2(cctx, packed, bound, data, size), "compress");
  int errors = 0;
  for (int i = 0; i < 500; i++) {
    size_t at = next() % n;
    unsigned char kept = packed[at];
    packed[at] ^= (unsigned char)(1 << next() % 8);
    errors += ZSTD_isError(ZSTD_decompress(unpacked, size, packed, n)) != 0;
    packed[at] = kept;
  }
  printf("damaged: %d of 500 found\n", errors);
  ZSTD_freeCCtx(cctx);
  free(packed);
  free(unpacked);
}

int main(int argc, char **argv) {
  if (argc < 3) die("usage: zstd-workload OUTPUT INPUT...");
  enum { SIZE = 1 << 18 };
  unsigned char *data = malloc(SIZE);
  fill(data, SIZE);
  printf("zstd %s\n", ZSTD_versionString());
  levels("words", data, SIZE, 19);
  levels("short", data, 100, 22);
  streaming(data, SIZE, argv[1]);
  dictionary();
  damage(data, 20000);
  for (int i = 2; i < argc; i++) {
    FILE *file = fopen(argv[i], "rb");
    if (!file) die("cannot open an input");
    size_t n = fread(data, 1, SIZE, file);
    fclose(file);
    levels(strrchr(argv[i], '/') ? strrchr(argv[i], '/') + 1 : argv[i], data, n, 15);
  }
  return 0;
}
