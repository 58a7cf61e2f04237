#include "bouncer/report_origin.h"

/* Base32 of the shortest and the longest token. */
#define MIN_TOKEN 34
#define MAX_TOKEN (RETURN_PATH_LOCAL_SIZE - 1 - 2)
/* Header fields are full of letters that look like tokens (DKIM-Signature, ARC-Seal): no more of them are tried. */
#define MAX_TRIES 512

static const char *verify(const struct report_keys *keys, struct text token, struct return_path *out)
{
	char local[RETURN_PATH_LOCAL_SIZE + 2] = "b+";
	if (token.len > MAX_TOKEN)
		return "its token has a wrong length";
	text_put(token, local + 2, sizeof local - 2);
	return return_path_verify(keys->key, keys->count, text_of(local), out);
}

const char *report_origin_of_address(const struct report_keys *keys, struct text address, struct report_origin *out)
{
	size_t at = text_rfind(address, '@');
	*out = (struct report_origin){0};
	if (at == SIZE_MAX || !text_equal_fold(text_from(address, at + 1), keys->host))
		return "it came to an address of another host than [milter] return_path_host";
	struct text local = text_head(address, at);
	out->unsubscribes = text_starts_fold(local, TEXT("u+"));
	if (!out->unsubscribes && !text_starts_fold(local, TEXT("b+")))
		return "it came to an address without a token";
	return verify(keys, text_from(local, 2), &out->path);
}

static bool is_base32(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '2' && c <= '7');
}

/* The next run of letters of the alphabet in REST; empty when there is none. */
static struct text next_run(struct text *rest)
{
	size_t from = 0, end;
	while (from < rest->len && !is_base32(rest->ptr[from]))
		from++;
	for (end = from; end < rest->len && is_base32(rest->ptr[end]); end++)
		;
	struct text run = text_head(text_from(*rest, from), end - from);
	*rest = text_from(*rest, end);
	return run;
}

const char *report_origin_within(const struct report_keys *keys, const struct report_mail *mail,
				 struct report_origin *out)
{
	size_t tries = 0;
	*out = (struct report_origin){0};
	for (size_t i = 0; i < mail->count; i++) {
		if (mail->piece[i].kind != PIECE_FEEDBACK && mail->piece[i].kind != PIECE_RETURNED)
			continue;
		struct text rest = mail->piece[i].text;
		for (struct text run; (run = next_run(&rest)).len && tries < MAX_TRIES;) {
			if (run.len < MIN_TOKEN || run.len > MAX_TOKEN)
				continue;
			tries++;
			if (!verify(keys, run, &out->path))
				return NULL;
		}
	}
	return "there is no token of ours in what it returns";
}
