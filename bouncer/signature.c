#include "bouncer/signature.h"

#include <string.h>

#include "common/digest.h"
#include "common/encode.h"
#include "common/webhook_key.h"

#define PREFIX TEXT("whsec_")

const char *signature_key(struct text secret, struct buffer *key)
{
	if (!text_starts(secret, PREFIX))
		return "a webhook secret begins with whsec_";
	size_t before = key->len;
	const char *why = encode_base64_decode(text_from(secret, PREFIX.len), key);
	if (why)
		return why;
	size_t len = key->len - before;
	if (len < SIGNATURE_SECRET_MIN || len > SIGNATURE_SECRET_MAX)
		return "a webhook secret has 24 to 64 bytes in base64";
	return NULL;
}

void signature_secret_new(struct buffer *out)
{
	unsigned char key[32];
	digest_random(key, sizeof(key));
	buffer_text(out, PREFIX);
	encode_base64(text_at(key, sizeof(key)), out);
	explicit_bzero(key, sizeof(key));
}

static void begin(const char *version, struct buffer *out)
{
	if (out->len)
		buffer_char(out, ' ');
	buffer_format(out, "%s,", version);
}

static struct buffer signed_content(struct text id, int64_t timestamp, struct text body)
{
	struct buffer content = {0};
	buffer_text(&content, id);
	buffer_format(&content, ".%lld.", (long long)timestamp);
	buffer_text(&content, body);
	return content;
}

void signature_add(struct text key, struct text id, int64_t timestamp, struct text body, struct buffer *out)
{
	unsigned char mac[32];
	struct buffer content = signed_content(id, timestamp, body);
	digest_hmac_sha256(key, buffer_view(&content), mac);
	begin("v1", out);
	encode_base64(text_at(mac, sizeof(mac)), out);
	buffer_free(&content);
}

void signature_add_v1a(const struct webhook_key *key, struct text id, int64_t timestamp, struct text body,
		       struct buffer *out)
{
	struct buffer content = signed_content(id, timestamp, body), signature = {0};
	webhook_key_sign(key, buffer_view(&content), &signature);
	begin("v1a", out);
	encode_base64(buffer_view(&signature), out);
	buffer_free(&content);
	buffer_free(&signature);
}
