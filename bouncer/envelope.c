#include "bouncer/envelope.h"

#include "common/digest.h"
#include "common/encode.h"
#include "common/json.h"
#include "common/webhook_key.h"

#include "bouncer/signer.h"

/* Mailgun, "Securing webhooks": a token of 50 characters, once only, and HMAC-SHA-256 over timestamp and token under the
 * signing key, in hex. The key is the secret as the customer has it, without whsec_. Time and token are the event's own,
 * so that the body stays the same. */
#define MAILGUN_TOKEN_SIZE 50

static void mailgun_signature(struct json *json, struct text key, const struct event_row *row)
{
	unsigned char hash[32], mac[32];
	struct buffer token = {0}, signed_text = {0}, signing_key = {0}, hex = {0};
	digest_sha256(row->field[EVENT_ID], hash);
	encode_hex(text_at(hash, sizeof(hash)), &token);
	token.len = MAILGUN_TOKEN_SIZE;
	buffer_text(&signed_text, row->field[EVENT_SECONDS]);
	buffer_text(&signed_text, buffer_view(&token));
	encode_base64(key, &signing_key);
	digest_hmac_sha256(buffer_view(&signing_key), buffer_view(&signed_text), mac);
	encode_hex(text_at(mac, sizeof(mac)), &hex);

	json_open(json, "signature", '{');
	json_string(json, "timestamp", row->field[EVENT_SECONDS]);
	json_string(json, "token", buffer_view(&token));
	json_string(json, "signature", buffer_view(&hex));
	json_close(json, '}');
	buffer_free(&token);
	buffer_free(&signed_text);
	buffer_free(&signing_key);
	buffer_free(&hex);
}

static void mailgun_body(const struct endpoint *endpoint, const struct event_row *row, struct buffer *out)
{
	struct json json = {.out = out};
	struct buffer data = {0};
	format_body(FORMAT_MAILGUN, row, &data);
	json_open(&json, NULL, '{');
	mailgun_signature(&json, endpoint_old_key(endpoint), row);
	json_raw(&json, "event-data", buffer_view(&data));
	json_close(&json, '}');
	buffer_free(&data);
}

void envelope_body(const struct endpoint *endpoint, const struct event_row *row, struct buffer *out)
{
	if (endpoint->format == FORMAT_MAILGUN)
		mailgun_body(endpoint, row, out);
	else
		format_body(endpoint->format, row, out);
}

static struct buffer *line(struct envelope *envelope, const char *name)
{
	struct buffer *out = &envelope->lines[envelope->count++];
	buffer_format(out, "%s: ", name);
	return out;
}

/* Twilio SendGrid, "Getting started with the Event Webhook security features": ECDSA over timestamp and body. */
static void sendgrid_headers(const struct delivery *delivery, const struct webhook_key *key, int64_t now,
			     struct envelope *out)
{
	struct buffer message = {0}, signature = {0};
	buffer_format(&message, "%lld", (long long)now);
	buffer_text(&message, buffer_view(&delivery->body));
	webhook_key_sign(key, buffer_view(&message), &signature);
	encode_base64(buffer_view(&signature), line(out, "X-Twilio-Email-Event-Webhook-Signature"));
	buffer_format(line(out, "X-Twilio-Email-Event-Webhook-Timestamp"), "%lld", (long long)now);
	buffer_free(&message);
	buffer_free(&signature);
}

void envelope_headers(const struct delivery *delivery, int64_t now, struct envelope *out)
{
	const struct endpoint *endpoint = delivery->endpoint;
	struct signer *signer = signer_of(delivery->endpoint);
	struct buffer signatures = {0};
	*out = (struct envelope){0};
	signer_sign(signer, text_of(delivery->id), now, buffer_view(&delivery->body), &signatures);
	buffer_text(line(out, "Content-Type"), TEXT("application/json"));
	buffer_text(line(out, "webhook-id"), text_of(delivery->id));
	buffer_format(line(out, "webhook-timestamp"), "%lld", (long long)now);
	buffer_text(line(out, "webhook-signature"), buffer_view(&signatures));
	if (signer_p256(signer))
		sendgrid_headers(delivery, signer_p256(signer), now, out);
	if (endpoint->header.len)
		buffer_text(&out->lines[out->count++], buffer_view(&endpoint->header));
	buffer_free(&signatures);
}

void envelope_free(struct envelope *envelope)
{
	for (size_t i = 0; i < envelope->count; i++)
		buffer_free(&envelope->lines[i]);
	envelope->count = 0;
}
