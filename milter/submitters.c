#include "common/network.h"

#include "milter/submitters.h"

/* An entry's network, empty when it has none, and its login. */
static struct text split(struct text entry, struct text *login)
{
	size_t at = text_find(entry, '=');
	*login = text_trim(at == SIZE_MAX ? entry : text_from(entry, at + 1));
	return at == SIZE_MAX ? TEXT("") : text_trim(text_head(entry, at));
}

const char *submitters_check(struct text list)
{
	struct text entry, login;
	struct network network;
	bool rest = false;
	if (!list.len)
		return NULL;
	while (text_take(&list, ',', &entry)) {
		struct text where = split(entry, &login);
		if (rest)
			return "an entry stands behind the login for the rest";
		if (!login.len)
			return "an entry has no login";
		rest = text_find(entry, '=') == SIZE_MAX;
		if (!rest && network_parse(where, &network))
			return "an entry has something other than a network before its =";
	}
	return NULL;
}

struct text submitters_find(struct text list, struct text client)
{
	struct text entry, login;
	struct network network, address;
	bool known = !network_parse(client, &address);
	while (text_take(&list, ',', &entry)) {
		struct text where = split(entry, &login);
		if (!where.len || (known && !network_parse(where, &network) && network_contains(&network, &address)))
			return login;
	}
	return TEXT("");
}
