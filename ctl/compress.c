#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "common/memory.h"
#include "ctl/compress.h"

struct compress {
	ZSTD_CCtx *stream;
	char *piece;
	size_t size;
};

struct compress *compress_new(void)
{
	struct compress *c = memory_zero(1, sizeof *c);
	c->stream = ZSTD_createCCtx();
	if (!c->stream)
		abort(); /* as memory_new() */
	c->size = ZSTD_CStreamOutSize();
	c->piece = memory_new(c->size);
	ZSTD_CCtx_setParameter(c->stream, ZSTD_c_checksumFlag, 1);
	return c;
}

void compress_free(struct compress **compress)
{
	struct compress *c = *compress;
	if (!c)
		return;
	ZSTD_freeCCtx(c->stream);
	free(c->piece);
	free(c);
	*compress = NULL;
}

static int push(struct compress *c, struct text bytes, ZSTD_EndDirective how, FILE *out)
{
	ZSTD_inBuffer in = {bytes.ptr, bytes.len, 0};
	size_t left;
	do {
		ZSTD_outBuffer to = {c->piece, c->size, 0};
		left = ZSTD_compressStream2(c->stream, &to, &in, how);
		if (ZSTD_isError(left)) {
			errno = EIO;
			return -1;
		}
		if (fwrite(c->piece, 1, to.pos, out) != to.pos)
			return -1;
	} while (how == ZSTD_e_end ? left > 0 : in.pos < in.size);
	return 0;
}

int compress_add(struct compress *compress, struct text bytes, FILE *out)
{
	return push(compress, bytes, ZSTD_e_continue, out);
}

int compress_end(struct compress *compress, FILE *out)
{
	return push(compress, TEXT(""), ZSTD_e_end, out);
}

/* 0 at a frame's end, > 0 within one, an error of zstd. */
static size_t unpack(ZSTD_DCtx *stream, struct text packed, char *piece, size_t size, compress_visit *visit,
		     void *context)
{
	ZSTD_inBuffer in = {packed.ptr, packed.len, 0};
	ZSTD_outBuffer to = {piece, size, 0};
	size_t left = 0;
	/* A piece that was filled may have left more behind although all input is taken. */
	while (in.pos < in.size || to.pos == size) {
		to.pos = 0;
		left = ZSTD_decompressStream(stream, &to, &in);
		if (ZSTD_isError(left))
			break;
		visit(context, text_at(piece, to.pos));
		if (!left && in.pos == in.size)
			break;
	}
	return left;
}

int compress_read(const char *path, compress_visit *visit, void *context)
{
	FILE *file = fopen(path, "re");
	ZSTD_DCtx *stream = ZSTD_createDCtx();
	size_t in_size = ZSTD_DStreamInSize(), out_size = ZSTD_DStreamOutSize(), left = 1, got = 0;
	char *packed = memory_new(in_size), *piece = memory_new(out_size);
	while (file && stream && !ZSTD_isError(left) && (got = fread(packed, 1, in_size, file)))
		left = unpack(stream, text_at(packed, got), piece, out_size, visit, context);
	int result = file && stream && !left && !ferror(file) ? 0 : -1;
	if (file)
		fclose(file);
	ZSTD_freeDCtx(stream);
	free(packed);
	free(piece);
	return result;
}
