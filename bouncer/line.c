/* The envelope of a log line: time, host, tag. The message behind it is line_message.c's. */

#include "bouncer/line_internal.h"

#define US_PER_S  1000000
#define S_PER_DAY 86400

/* Days from 1970-01-01 in the proleptic Gregorian calendar; MONTH from 1. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t of_era = year - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t year_of(int64_t us)
{
	int64_t days = us / US_PER_S / S_PER_DAY;
	int64_t year = 1970 + days / 366;
	while (days_of(year + 1, 1, 1) <= days)
		year++;
	return year;
}

static int two(const char *p)
{
	if (!(p[0] == ' ' || line_digit(p[0])) || !line_digit(p[1]))
		return -1;
	return (p[0] == ' ' ? 0 : (p[0] - '0') * 10) + (p[1] - '0');
}

/* "HH:MM:SS" in seconds, or -1. */
static int64_t time_of_day(const char *p)
{
	int hours = two(p), minutes = two(p + 3), seconds = two(p + 6);
	if (p[2] != ':' || p[5] != ':' || hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || seconds < 0 ||
	    seconds > 60)
		return -1;
	return hours * 3600 + minutes * 60 + seconds;
}

static int month_of(const char *p)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	for (int i = 0; i < 12; i++)
		if (memcmp(names + 3 * i, p, 3) == 0)
			return i + 1;
	return 0;
}

static int64_t to_utc(const struct line_clock *clock, int64_t local_s)
{
	return (local_s - (clock->zone_s ? clock->zone_s(local_s) : 0)) * US_PER_S;
}

/* "Mmm dd HH:MM:SS " (RFC 3164 section 4.1.2): no year, so the latest one that does not lie in the future. */
static bool stamp_bsd(struct text *line, struct line_clock *clock, int64_t *out)
{
	if (line->len < sizeof clock->stamp || line->ptr[15] != ' ')
		return false;
	if (clock->stamp_now_us != clock->now_us || memcmp(line->ptr, clock->stamp, sizeof clock->stamp) != 0) {
		int month = month_of(line->ptr), day = two(line->ptr + 4);
		int64_t seconds = time_of_day(line->ptr + 7);
		if (!month || day < 1 || day > 31 || seconds < 0 || line->ptr[3] != ' ' || line->ptr[6] != ' ')
			return false;
		int64_t year = year_of(clock->now_us) + 1, us;
		do
			us = to_utc(clock, days_of(year, month, day) * S_PER_DAY + seconds);
		while (us > clock->now_us + LINE_AHEAD_US && year-- > 1970);
		memcpy(clock->stamp, line->ptr, sizeof clock->stamp);
		clock->stamp_us = us;
		clock->stamp_now_us = clock->now_us;
	}
	*out = clock->stamp_us;
	*line = text_from(*line, sizeof clock->stamp);
	return true;
}

/* ".123456" into microseconds; digits beyond the sixth are dropped. */
static int64_t fraction_us(struct text *t)
{
	int64_t us = 0, unit = US_PER_S / 10;
	if (!SKIP(*t, ".") && !SKIP(*t, ","))
		return 0;
	for (; t->len && line_digit(t->ptr[0]); *t = text_from(*t, 1), unit /= 10)
		us += (t->ptr[0] - '0') * unit;
	return us;
}

/* "Z", "+01:00", "+0100" in seconds; false when there is none. */
static bool zone(struct text *t, int64_t *out)
{
	*out = 0;
	if (SKIP(*t, "Z"))
		return true;
	if (t->len < 5 || (t->ptr[0] != '+' && t->ptr[0] != '-'))
		return false;
	size_t colon = t->ptr[3] == ':';
	if (t->len < 5 + colon || two(t->ptr + 1) < 0 || two(t->ptr + 3 + colon) < 0)
		return false;
	*out = (t->ptr[0] == '-' ? -1 : 1) * (two(t->ptr + 1) * 3600 + two(t->ptr + 3 + colon) * 60);
	*t = text_from(*t, 5 + colon);
	return true;
}

/* "YYYY-MM-DDTHH:MM:SS[.frac](Z|±hh:mm) " (RFC 5424 section 6.2.3). */
static bool stamp_iso(struct text *line, const struct line_clock *clock, int64_t *out)
{
	const char *p = line->ptr;
	if (line->len < 20 || p[4] != '-' || p[7] != '-' || (p[10] != 'T' && p[10] != ' '))
		return false;
	int century = two(p), year = two(p + 2), month = two(p + 5), day = two(p + 8);
	int64_t seconds = time_of_day(p + 11), offset;
	/* Before 1970 nobody wrote a log, and Postgres knows no year 0. */
	if (century < 0 || year < 0 || century * 100 + year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 ||
	    seconds < 0)
		return false;
	int64_t local_s = days_of(century * 100 + year, month, day) * S_PER_DAY + seconds;
	struct text rest = text_from(*line, 19);
	int64_t fraction = fraction_us(&rest);
	*out = (zone(&rest, &offset) ? (local_s - offset) * US_PER_S : to_utc(clock, local_s)) + fraction;
	*line = rest;
	return SKIP(*line, " ");
}

/* The programs that ever log with a tag of their own (postfix-*.tar.gz, src), by length of name and then the frequent ones
 * first. Those that are silent never tell what happened to a message. */
static const struct daemon {
	struct text name;
	bool silent;
} daemons[] = {
	{TEXT("qmgr"), false},           {TEXT("smtp"), false},       {TEXT("lmtp"), false},
	{TEXT("pipe"), false},           {TEXT("smtpd"), false},      {TEXT("local"), false},
	{TEXT("error"), false},          {TEXT("retry"), false},      {TEXT("defer"), false},
	{TEXT("trace"), false},          {TEXT("nqmgr"), false},      {TEXT("oqmgr"), false},
	{TEXT("qmqpd"), false},          {TEXT("anvil"), true},       {TEXT("flush"), true},
	{TEXT("showq"), true},           {TEXT("spawn"), true},       {TEXT("bounce"), false},
	{TEXT("pickup"), false},         {TEXT("scache"), true},      {TEXT("master"), true},
	{TEXT("tlsmgr"), true},          {TEXT("verify"), true},      {TEXT("cleanup"), false},
	{TEXT("virtual"), false},        {TEXT("discard"), false},    {TEXT("dnsblog"), true},
	{TEXT("postcat"), true},         {TEXT("postfix"), true},     {TEXT("postlog"), true},
	{TEXT("postmap"), true},         {TEXT("tlsproxy"), true},    {TEXT("postdrop"), true},
	{TEXT("postlogd"), true},        {TEXT("proxymap"), true},    {TEXT("sendmail"), true},
	{TEXT("postalias"), true},       {TEXT("postqueue"), true},   {TEXT("postsuper"), false},
	{TEXT("proxywrite"), true},      {TEXT("postscreen"), false}, {TEXT("postfix-script"), true},
	{TEXT("trivial-rewrite"), true},
};

static const struct daemon *find_daemon(struct text name)
{
	for (size_t i = 0; i < sizeof daemons / sizeof *daemons; i++)
		if (daemons[i].name.len == name.len && daemons[i].name.ptr[0] == name.ptr[0] &&
		    memcmp(daemons[i].name.ptr, name.ptr, name.len) == 0)
			return &daemons[i];
	return NULL;
}

/* "postfix/submission/smtpd[16]": false when the program is not one of Postfix's. */
static bool tag(struct text name, struct record *record)
{
	const char *first = name.len ? memchr(name.ptr, '/', name.len) : NULL;
	if (!first || first == name.ptr)
		return false;
	size_t last = name.len;
	while (name.ptr[last - 1] != '/')
		last--;
	record->instance = text_at(name.ptr, (size_t)(first - name.ptr));
	record->daemon = text_at(name.ptr + last, name.len - last);
	const struct daemon *daemon = record->daemon.len ? find_daemon(record->daemon) : NULL;
	record->silent = daemon && daemon->silent;
	return daemon;
}

/* "HOST TAG[PID]: " of RFC 3164; *REST is the message. */
static bool origin_bsd(struct text *rest, struct record *record)
{
	record->host = line_until(rest, ' ');
	size_t end = 0;
	while (end < rest->len && rest->ptr[end] != '[' && rest->ptr[end] != ':' && rest->ptr[end] != ' ')
		end++;
	struct text name = text_head(*rest, end);
	*rest = text_from(*rest, end);
	if (SKIP(*rest, "[")) {
		record->pid = (uint32_t)line_number(rest);
		if (!SKIP(*rest, "]"))
			return false;
	}
	return SKIP(*rest, ": ") && tag(name, record);
}

/* Printable ASCII of a host name's length (RFC 1035 section 2.3.4): any local user can write a line, and no two names may be
 * one to the database. */
static bool is_name(struct text t)
{
	size_t len = 0;
	while (len < t.len && t.ptr[len] > ' ' && t.ptr[len] < 0x7f)
		len++;
	return len == t.len && len <= 255;
}

/* Structured data (RFC 5424 section 6.3), moved over: "-" or "[id name="value" …]…". */
static bool structured(struct text *rest)
{
	if (SKIP(*rest, "- "))
		return true;
	bool quoted = false;
	for (size_t i = 0; i < rest->len; i++) {
		char c = rest->ptr[i];
		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && c == ']' && i + 1 < rest->len && rest->ptr[i + 1] == ' ') {
			*rest = text_from(*rest, i + 2);
			return true;
		}
	}
	return false;
}

/* "HOST APP-NAME PROCID MSGID STRUCTURED-DATA " of RFC 5424. */
static bool origin_5424(struct text *rest, struct record *record)
{
	record->host = line_until(rest, ' ');
	struct text name = line_until(rest, ' ');
	struct text pid = line_until(rest, ' ');
	record->pid = (uint32_t)line_number(&pid);
	line_until(rest, ' ');
	if (!structured(rest) || !tag(name, record))
		return false;
	SKIP(*rest, "\xef\xbb\xbf");
	return true;
}

/* "<22>" (PRI), and whether RFC 5424's version follows. */
static bool priority(struct text *line)
{
	if (!SKIP(*line, "<"))
		return false;
	line_number(line);
	return SKIP(*line, ">") && SKIP(*line, "1 ");
}

/* Lines about lines, which stand without a tag or with another program's. */
static bool about_lines(struct text rest, struct record *record)
{
	size_t at;
	if (SKIP(rest, "last message repeated ")) {
		record->repeat = (uint32_t)line_number(&rest);
		record->kind = STARTS(rest, " time") ? RECORD_REPEATED : RECORD_OTHER;
		return true;
	}
	if ((at = text_search(text_head(rest, 64), TEXT(": Suppressed "))) != SIZE_MAX) {
		rest = text_from(rest, at + sizeof ": Suppressed " - 1);
		record->repeat = (uint32_t)line_number(&rest);
		record->kind = STARTS(rest, " messages from ") && text_search(rest, TEXT("postfix")) != SIZE_MAX
				       ? RECORD_LOST
				       : RECORD_OTHER;
		return true;
	}
	return false;
}

/* "message repeated 2 times: [ TEXT]" (rsyslog): TEXT, said twice. */
static void unrepeat(struct text *message, struct record *record)
{
	struct text rest = *message;
	if (!SKIP(rest, "message repeated "))
		return;
	uint64_t times = line_number(&rest);
	if (!SKIP(rest, " times: [") || !times || times > UINT32_MAX || !text_ends(rest, TEXT("]")))
		return;
	record->repeat = (uint32_t)times - 1;
	*message = text_trim(text_head(rest, rest.len - 1));
}

const char *line_parse(struct text line, struct line_clock *clock, struct record *out)
{
	*out = (struct record){.kind = RECORD_OTHER, .delay = -1, .delays = {-1, -1, -1, -1}};
	struct text rest = line;
	while (rest.len && (rest.ptr[rest.len - 1] == '\r' || rest.ptr[rest.len - 1] == '\n'))
		rest.len--;
	bool syslog_5424 = rest.len && rest.ptr[0] == '<' && priority(&rest);
	if (!rest.len || !(line_digit(rest.ptr[0]) ? stamp_iso(&rest, clock, &out->time_us)
						   : stamp_bsd(&rest, clock, &out->time_us)))
		return NULL;
	if (out->time_us > clock->now_us + LINE_AHEAD_US)
		out->time_us = clock->now_us + LINE_AHEAD_US;
	struct text behind_host = rest;
	line_until(&behind_host, ' ');
	bool ours = syslog_5424 ? origin_5424(&rest, out) : origin_bsd(&rest, out);
	if (!is_name(out->host) || !is_name(out->instance))
		return NULL;
	if (!ours) {
		about_lines(behind_host, out);
		return NULL;
	}
	unrepeat(&rest, out);
	return line_message(rest, out);
}
