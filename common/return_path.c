#include <string.h>

#include "common/digest.h"
#include "common/encode.h"
#include "common/return_path.h"

#define VERSION     1
#define MAC_BYTES   10 /* 80 bits: nobody can try them by sending mail */
#define HEAD_BYTES  (1 + RETURN_PATH_CUSTOMER + RETURN_PATH_NODE)
#define QUEUE_BYTES (RETURN_PATH_MAX_QUEUE_ID * 6 / 8)
#define MAX_BYTES   (HEAD_BYTES + QUEUE_BYTES + MAC_BYTES)
#define PREFIX      "b+"

_Static_assert(sizeof PREFIX + (MAX_BYTES * 8 + 4) / 5 <= RETURN_PATH_LOCAL_SIZE, "a token fits into a local part");

/* The letters of queue ids, numbered from 1: a 0 is no letter. */
static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static void short_form(struct text name, unsigned char *out, size_t len)
{
	unsigned char digest[32];
	digest_sha256(name, digest);
	memcpy(out, digest, len);
}

void return_path_customer(struct text customer, unsigned char out[RETURN_PATH_CUSTOMER])
{
	short_form(customer, out, RETURN_PATH_CUSTOMER);
}

void return_path_node(struct text node, unsigned char out[RETURN_PATH_NODE])
{
	short_form(node, out, RETURN_PATH_NODE);
}

static const char *pack(struct text queue_id, struct buffer *out)
{
	uint32_t bits = 0;
	unsigned have = 0;
	if (!queue_id.len || queue_id.len > RETURN_PATH_MAX_QUEUE_ID)
		return "its queue id is empty or too long";
	for (size_t i = 0; i < queue_id.len; i++) {
		const char *at = memchr(letters, queue_id.ptr[i], sizeof letters - 1);
		if (!at)
			return "its queue id has other bytes than letters and digits";
		bits = bits << 6 | (uint32_t)(at - letters + 1);
		for (have += 6; have >= 8; have -= 8)
			buffer_char(out, (char)(unsigned char)(bits >> (have - 8)));
	}
	if (have)
		buffer_char(out, (char)(unsigned char)(bits << (8 - have)));
	return NULL;
}

static const char *unpack(struct text packed, char out[RETURN_PATH_MAX_QUEUE_ID + 1])
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t len = 0;
	for (size_t i = 0; i < packed.len; i++) {
		bits = bits << 8 | (unsigned char)packed.ptr[i];
		for (have += 8; have >= 6; have -= 6) {
			uint32_t letter = bits >> (have - 6) & 63;
			if (letter >= sizeof letters)
				return "its queue id is none";
			if (letter)
				out[len++] = letters[letter - 1];
		}
	}
	out[len] = '\0';
	return NULL;
}

const char *return_path_make(struct text key, struct text customer, struct text node, struct text queue_id,
			     char out[RETURN_PATH_LOCAL_SIZE])
{
	unsigned char head[HEAD_BYTES] = {VERSION}, mac[32];
	struct buffer token = {0}, local = {0};
	return_path_customer(customer, head + 1);
	return_path_node(node, head + 1 + RETURN_PATH_CUSTOMER);
	buffer_add(&token, head, sizeof head);
	const char *why = pack(queue_id, &token);
	if (!why) {
		digest_hmac_sha256(key, buffer_view(&token), mac);
		buffer_add(&token, mac, MAC_BYTES);
		buffer_text(&local, TEXT(PREFIX));
		encode_base32(buffer_view(&token), &local);
		text_put(buffer_view(&local), out, RETURN_PATH_LOCAL_SIZE);
	}
	buffer_free(&token);
	buffer_free(&local);
	return why;
}

/* All keys are tried, whichever fits. */
static bool is_authentic(const struct text *keys, size_t count, struct text token)
{
	bool found = false;
	struct text said = text_head(token, token.len - MAC_BYTES);
	for (size_t i = 0; i < count; i++) {
		unsigned char mac[32];
		digest_hmac_sha256(keys[i], said, mac);
		found |= digest_equal(mac, token.ptr + said.len, MAC_BYTES);
	}
	return found;
}

static const char *read_token(const struct text *keys, size_t count, struct text token, struct return_path *out)
{
	if (token.len <= HEAD_BYTES + MAC_BYTES || token.len > MAX_BYTES)
		return "its token has a wrong length";
	if (token.ptr[0] != VERSION)
		return "its token is of another version";
	if (!is_authentic(keys, count, token))
		return "its token is not authentic";
	memcpy(out->customer, token.ptr + 1, RETURN_PATH_CUSTOMER);
	memcpy(out->node, token.ptr + 1 + RETURN_PATH_CUSTOMER, RETURN_PATH_NODE);
	return unpack(text_head(text_from(token, HEAD_BYTES), token.len - HEAD_BYTES - MAC_BYTES), out->queue_id);
}

static const char *decode(struct text local, struct buffer *token)
{
	if (!text_starts_fold(local, TEXT(PREFIX)) || local.len >= RETURN_PATH_LOCAL_SIZE)
		return "no return path of ours";
	return encode_base32_decode(text_from(local, sizeof PREFIX - 1), token);
}

bool return_path_names(struct text local, unsigned char customer[RETURN_PATH_CUSTOMER])
{
	struct buffer token = {0};
	bool ours = !decode(local, &token) && token.len > HEAD_BYTES + MAC_BYTES && token.ptr[0] == VERSION;
	if (ours)
		memcpy(customer, token.ptr + 1, RETURN_PATH_CUSTOMER);
	buffer_free(&token);
	return ours;
}

const char *return_path_verify(const struct text *keys, size_t count, struct text local, struct return_path *out)
{
	struct buffer token = {0};
	const char *why = decode(local, &token);
	if (!why)
		why = read_token(keys, count, buffer_view(&token), out);
	buffer_free(&token);
	return why;
}
