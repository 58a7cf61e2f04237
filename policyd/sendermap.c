#include <stdlib.h>

#include "common/addr.h"
#include "common/directory.h"
#include "common/encode.h"
#include "common/idn.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/return_path.h"

#include "policyd/decide.h"
#include "policyd/sendermap.h"
#include "policyd/socketmap.h"
#include "policyd/stats.h"

struct sendermap {
	struct sendermap_options options;
	struct buffer value, answer;
	const char *trouble; /* the last one logged: it is said once */
};

/* One question under way. */
struct search {
	struct sendermap *map;
	struct directory_view view;
	struct addr sender; /* its domain as A-labels in lower case */
	char domain[ADDR_MAX_DOMAIN + 1];
	struct directory_domain owner; /* whose domain it is */
	bool owned;
	struct directory_customer customer; /* of the login last looked at; name empty: none yet */
};

struct sendermap *sendermap_new(const struct sendermap_options *options)
{
	struct sendermap *map = memory_zero(1, sizeof *map);
	map->options = *options;
	return map;
}

void sendermap_free(struct sendermap **map)
{
	if (!*map)
		return;
	buffer_free(&(*map)->value);
	buffer_free(&(*map)->answer);
	free(*map);
	*map = NULL;
}

/* Would policyd refuse it whatever it sends? */
static bool is_shut_out(const struct directory_login *login, const struct directory_customer *customer, int64_t now_s)
{
	return !login->enabled || login->suspended_at || (login->expires_at && login->expires_at <= now_s) ||
	       decide_is_suspended(customer, now_s);
}

static bool may_send(struct search *s, const struct directory_login *login)
{
	struct rights_check check;
	struct right right;
	struct directory_list rights = login->rights;
	rights_begin(&check, s->sender, s->owned && text_equal(s->owner.customer, login->customer));
	while (directory_right_next(&rights, &right))
		rights_add(&check, right);
	return check.verdict == RIGHTS_ALLOWED;
}

/* NULL, or what is wrong with the directory. Logins of one customer mostly stand together. */
static const char *look_at(struct search *s, const struct directory_login *login, bool *listed)
{
	if (!text_equal(s->customer.name, login->customer) &&
	    directory_find_customer(&s->view, login->customer, &s->customer) != DIRECTORY_FOUND)
		return "a login's customer is missing or damaged";
	*listed = !is_shut_out(login, &s->customer, s->map->options.now_s()) && may_send(s, login);
	return NULL;
}

/* A login that has several rights stands under several names. */
static bool is_listed(struct text list, struct text name)
{
	struct text word;
	while (list.len && text_take(&list, ',', &word))
		if (text_equal(word, name))
			return true;
	return false;
}

/* Adds those of the logins found under NAME that may send as the sender. */
static const char *add_logins(struct search *s, struct text name)
{
	struct directory_senders senders;
	struct directory_login login;
	struct text word;
	struct buffer *value = &s->map->value;
	enum directory_answer answer = directory_find_senders(&s->view, name, &senders);
	if (answer == DIRECTORY_TROUBLE)
		return "a record of senders is damaged";
	while (answer == DIRECTORY_FOUND && directory_name_next(&senders.logins, &word)) {
		answer = directory_find_login(&s->view, word, &login);
		if (answer == DIRECTORY_TROUBLE)
			return "a login's record is damaged";
		bool listed = false;
		const char *why = answer == DIRECTORY_FOUND ? look_at(s, &login, &listed) : NULL;
		if (why)
			return why;
		if (listed && !is_listed(buffer_view(value), word)) {
			if (value->len)
				buffer_char(value, ',');
			buffer_text(value, word);
		}
		answer = DIRECTORY_FOUND;
	}
	return value->len > SOCKETMAP_MAX_ANSWER - 100 ? "more logins may send as it than Postfix takes in an answer"
						       : NULL;
}

/* "*@owned", then rights that name the domain or, as "@.example.com", one above it. */
static const char *find_logins(struct search *s)
{
	const char *why = s->owned ? add_logins(s, s->owner.customer) : NULL;
	for (struct text name = s->sender.domain; !why && name.len;) {
		why = add_logins(s, name);
		size_t dot = text_find(name, '.');
		name = dot == SIZE_MAX ? TEXT("") : text_from(name, dot + 1);
	}
	return why;
}

/* Whose mail is it? By the sender's domain, or by what a return path of ours names; empty: nobody's. */
static const char *find_customer(struct search *s, struct text *customer)
{
	unsigned char short_form[RETURN_PATH_CUSTOMER];
	struct directory_return_path named = {TEXT("")};
	struct buffer name = {0};
	*customer = s->owned ? s->owner.customer : TEXT("");
	if (s->owned || !return_path_names(s->sender.local, short_form))
		return NULL;
	encode_hex(text_at(short_form, sizeof short_form), &name);
	enum directory_answer answer = directory_find_return_path(&s->view, buffer_view(&name), &named);
	buffer_free(&name);
	if (answer == DIRECTORY_FOUND)
		*customer = named.customer;
	return answer == DIRECTORY_TROUBLE ? "a return path's record is damaged" : NULL;
}

static const char *find_transport(struct search *s)
{
	struct directory_customer customer;
	struct text name;
	const char *why = find_customer(s, &name);
	if (why || !name.len)
		return why;
	if (directory_find_customer(&s->view, name, &customer) != DIRECTORY_FOUND)
		return "a domain's customer is missing or damaged";
	buffer_text(&s->map->value, customer.transport);
	return NULL;
}

static const struct map {
	struct text name;
	const char *(*find)(struct search *s);
} maps[] = {{{"sender-logins", 13}, find_logins}, {{"sender-transport", 16}, find_transport}};

/* False for a key that is no address: there is nothing to find. */
static bool read_key(struct search *s, struct text key)
{
	if (addr_parse(key, &s->sender) || idn_to_ascii(s->sender.domain, s->domain, sizeof s->domain))
		return false;
	s->sender.domain = text_of(s->domain);
	return true;
}

static const char *find_in_view(struct search *s, const struct map *map)
{
	enum directory_answer answer = directory_find_domain(&s->view, s->sender.domain, &s->owner);
	if (answer == DIRECTORY_TROUBLE)
		return "a domain's record is damaged";
	s->owned = answer == DIRECTORY_FOUND;
	return map->find(s);
}

static const char *find(struct sendermap *sendermap, const struct map *map, struct text key)
{
	struct search s = {.map = sendermap};
	if (!read_key(&s, key))
		return NULL;
	if (directory_begin(sendermap->options.directory, &s.view) != DIRECTORY_FOUND)
		return directory_trouble(sendermap->options.directory);
	const char *why = find_in_view(&s, map);
	directory_end(&s.view);
	return why;
}

static void note_trouble(struct sendermap *map, const char *why)
{
	if (why && why != map->trouble)
		log_error("socketmap: %s; mail is deferred meanwhile; see waybill directory status", why);
	map->trouble = why;
}

static enum socketmap_status answer_from(struct sendermap *sendermap, const struct map *map, struct text key)
{
	sendermap->value.len = 0;
	const char *why = find(sendermap, map, key);
	note_trouble(sendermap, why);
	if (!why)
		return sendermap->value.len ? SOCKETMAP_OK : SOCKETMAP_NOTFOUND;
	sendermap->value.len = 0;
	buffer_text(&sendermap->value, text_of(why));
	return SOCKETMAP_TEMP;
}

static enum socketmap_status answer_question(struct sendermap *sendermap, const struct socketmap_question *question)
{
	for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
		if (text_equal(question->map, maps[i].name))
			return answer_from(sendermap, &maps[i], question->key);
	sendermap->value.len = 0;
	buffer_text(&sendermap->value, TEXT("there is no such map: sender-logins, sender-transport"));
	return SOCKETMAP_PERM;
}

static const char *ask(void *service, void *state, struct text bytes, size_t *len, server_answer *answer, void *context)
{
	(void)state;
	struct sendermap *map = service;
	struct socketmap_question question;
	const char *why = socketmap_take(bytes, len, &question);
	if (why || !*len)
		return why;
	enum socketmap_status status = answer_question(map, &question);
	stats_note_lookup(map->options.metrics, status);
	map->answer.len = 0;
	socketmap_add(status, buffer_view(&map->value), &map->answer);
	answer(context, buffer_view(&map->answer));
	return NULL;
}

const struct server_protocol sendermap_protocol = {.ask = ask};
