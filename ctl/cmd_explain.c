/* waybill explain: what policyd knew when it refused. The refusal's id, told in its reply, names a line of the event
 * spool (common/spool.h) of the host that refused. */

#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "common/spool.h"

#include "ctl/cmd.h"
#include "ctl/command.h"
#include "ctl/output.h"

#define ID_LETTERS "abcdefghijklmnopqrstuvwxyz234567" /* base32, as policyd prints ids */

struct explanation {
	struct output *output;
	bool json;
	int found;
};

/* A limit as people read it: "acme-hour 100/h messages: 99 of 100 used, 3 more asked, retry in 72 s". */
static void describe_limit(json_t *limit, struct buffer *out)
{
	const char *id = "", *spec = "", *unit = "", *action = "", *subject = "";
	json_int_t cost = 0, used = 0, allowed = 0, retry_ms = -1;
	int fits = 1;
	json_unpack(limit, "{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b, s?I}", "limit", &id, "spec", &spec, "unit",
		    &unit, "action", &action, "subject", &subject, "cost", &cost, "used", &used, "allowed", &allowed,
		    "fits", &fits, "retry_after_ms", &retry_ms);
	buffer_format(out, "%s %s %s of %s (%s): %lld of %lld used, %lld more asked, %s", id, spec, unit, subject,
		      action, (long long)used, (long long)allowed, (long long)cost, fits ? "has room" : "has no room");
	if (retry_ms >= 0)
		buffer_format(out, ", room in %lld s", (long long)(retry_ms + 999) / 1000);
}

/* Limits are objects within the object: a line each for people, as they are with --json. */
static void spread_limits(json_t *row)
{
	json_t *limits = json_incref(json_object_get(row, "limits")), *limit;
	size_t i;
	json_object_del(row, "limits");
	json_array_foreach(limits, i, limit)
	{
		struct buffer name = {0}, words = {0};
		buffer_format(&name, "limit %zu", i + 1);
		describe_limit(limit, &words);
		json_object_set_new(row, buffer_string(&name), json_string(buffer_string(&words)));
		buffer_free(&name);
		buffer_free(&words);
	}
	json_decref(limits);
}

/* What the takeover guard knew, likewise: "takeover networks: 24, usual 2, mark 20: 100 points". */
static void spread_takeover(json_t *row)
{
	static const char *const signs[] = {"networks", "volume", "bounces"};
	json_t *takeover = json_object_get(row, "takeover");
	json_int_t score = 0, threshold = 0, count = 0, usual = 0, mark = 0, points = 0;
	struct buffer name = {0}, words = {0};
	if (json_unpack(takeover, "{s:I, s:I}", "score", &score, "threshold", &threshold) != 0)
		return;
	for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
		name.len = words.len = 0;
		json_unpack(json_object_get(takeover, signs[i]), "{s:I, s:I, s:I, s:I}", "count", &count, "usual",
			    &usual, "mark", &mark, "points", &points);
		buffer_format(&name, "takeover %s", signs[i]);
		buffer_format(&words, "%lld, usual %lld, mark %lld: %lld points", (long long)count, (long long)usual,
			      (long long)mark, (long long)points);
		json_object_set_new(row, buffer_string(&name), json_string(buffer_string(&words)));
	}
	words.len = 0;
	buffer_format(&words, "score %lld, suspicious from %lld on", (long long)score, (long long)threshold);
	json_object_set_new(row, "takeover", json_string(buffer_string(&words)));
	buffer_free(&name);
	buffer_free(&words);
}

static void show(void *context, struct text line)
{
	struct explanation *explanation = context;
	json_t *row = json_loadb(line.ptr, line.len, 0, NULL);
	if (!row)
		return; /* a line that is being written */
	if (!explanation->json) {
		spread_limits(row);
		spread_takeover(row);
	}
	output_row(explanation->output, row);
	explanation->found++;
}

int cmd_explain(struct ctl *ctl)
{
	const char *id = operand(ctl, 0), *folder = option(ctl, "spool");
	struct buffer needle = {0};
	if (!folder)
		folder = ctl->settings.common.spool;
	if (strspn(id, ID_LETTERS) != strlen(id) || !*id)
		return complain(EX_USAGE, NULL,
				"\"%s\" is no id of a refusal: eight letters and digits behind id= in the reply", id);
	if (!folder)
		return complain(EX_CONFIG, "set [common] spool and restart policyd",
				"no event spool is kept on this host");
	buffer_format(&needle, "\"id\":\"%s\"", id);
	struct explanation explanation = {output_new(OUTPUT_RECORD, ctl->json), ctl->json, 0};
	int status = spool_search(folder, buffer_view(&needle), show, &explanation);
	const char *trouble = strerror(errno);
	buffer_free(&needle);
	output_end(&explanation.output, NULL);
	if (status)
		return complain(EX_NOINPUT, "waybill explain ID --spool FOLDER", "%s: %s", folder, trouble);
	if (explanation.found)
		return 0;
	return complain(EX_NOUSER, "ask the host that refused: its name stands in Postfix's reply",
			"no refusal %s in %s: older than what is kept, or another host's", id, folder);
}
