#include "bouncer/signer.h"

#include <stdlib.h>

#include "common/digest.h"
#include "common/memory.h"
#include "common/webhook_key.h"

#include "bouncer/signature.h"

struct signer {
	struct digest_mac *macs[2]; /* one, or two while a secret rotates */
	size_t mac_count;
	struct webhook_key *ed25519[2]; /* as many, or NULL: not asked for */
	struct webhook_key *p256;       /* NULL: not asked for */
};

static void signer_free(struct signer *signer)
{
	for (size_t i = 0; i < signer->mac_count; i++)
		digest_mac_free(&signer->macs[i]);
	for (size_t i = 0; i < 2; i++)
		webhook_key_free(&signer->ed25519[i]);
	webhook_key_free(&signer->p256);
	free(signer);
}

struct signer *signer_of(struct endpoint *endpoint)
{
	if (endpoint->signer)
		return endpoint->signer;
	struct signer *signer = memory_zero(1, sizeof(*signer));
	for (size_t i = 0; i < endpoint->key_count; i++)
		signer->macs[signer->mac_count++] = digest_mac_new(buffer_view(&endpoint->keys[i]));
	for (size_t i = 0; endpoint->asymmetric && i < endpoint->key_count; i++)
		signer->ed25519[i] = webhook_key_derive(WEBHOOK_KEY_ED25519, buffer_view(&endpoint->keys[i]));
	if (endpoint->format == FORMAT_SENDGRID)
		signer->p256 = webhook_key_derive(WEBHOOK_KEY_P256, endpoint_old_key(endpoint));
	endpoint->signer = signer;
	endpoint->signer_free = signer_free;
	return signer;
}

void signer_sign(struct signer *signer, struct text id, int64_t timestamp, struct text body, struct buffer *out)
{
	for (size_t i = 0; i < signer->mac_count; i++)
		signature_add(signer->macs[i], id, timestamp, body, out);
	for (size_t i = 0; i < signer->mac_count; i++)
		if (signer->ed25519[i])
			signature_add_v1a(signer->ed25519[i], id, timestamp, body, out);
}

const struct webhook_key *signer_p256(const struct signer *signer)
{
	return signer->p256;
}
