#include "bouncer/signature.h"

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

static void begin(const char *version, struct buffer *out)
{
	if (out->len)
		buffer_char(out, ' ');
	buffer_format(out, "%s,", version);
}

/* What stands before the body: "ID.TIMESTAMP." */
static struct buffer signed_head(struct text id, int64_t timestamp)
{
	struct buffer head = {0};
	buffer_text(&head, id);
	buffer_format(&head, ".%lld.", (long long)timestamp);
	return head;
}

void signature_add(struct digest_mac *mac, struct text id, int64_t timestamp, struct text body, struct buffer *out)
{
	unsigned char bytes[32];
	struct buffer head = signed_head(id, timestamp);
	digest_mac_add(mac, buffer_view(&head));
	digest_mac_add(mac, body);
	digest_mac_end(mac, bytes);
	begin("v1", out);
	encode_base64(text_at(bytes, sizeof(bytes)), out);
	buffer_free(&head);
}

void signature_add_v1a(const struct webhook_key *key, struct text id, int64_t timestamp, struct text body,
		       struct buffer *out)
{
	struct buffer content = signed_head(id, timestamp), signature = {0};
	buffer_text(&content, body);
	webhook_key_sign(key, buffer_view(&content), &signature);
	begin("v1a", out);
	encode_base64(buffer_view(&signature), out);
	buffer_free(&content);
	buffer_free(&signature);
}
