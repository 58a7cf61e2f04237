#include "ctl/notice.h"

/* Whatever the database holds, a line stays one line. */
static void add_line(struct buffer *out, struct text value)
{
	for (size_t i = 0; i < value.len; i++)
		buffer_char(out, (unsigned char)value.ptr[i] < ' ' || value.ptr[i] == 0x7f ? ' ' : value.ptr[i]);
}

static void add_field(struct buffer *out, const char *name, struct text value)
{
	buffer_format(out, "%s", name);
	add_line(out, value);
	buffer_char(out, '\n');
}

static bool is_disabled(const struct notice *notice)
{
	return text_equal(notice->type, TEXT("webhook.endpoint.disabled"));
}

static void add_subject(const struct notice *notices, size_t count, struct buffer *out)
{
	bool disabled = false;
	for (size_t i = 0; i < count; i++)
		disabled = disabled || is_disabled(&notices[i]);
	const char *what = disabled ? "disabled" : "failing";
	if (count == 1)
		buffer_format(out, "Subject: Webhook endpoint %.*s of %.*s is %s\n", TEXT_ARG(notices[0].endpoint),
			      TEXT_ARG(notices[0].customer), what);
	else
		buffer_format(out, "Subject: %zu webhook endpoints are failing or disabled\n", count);
}

static void add_header(const struct notice_mail *mail, struct buffer *out)
{
	add_field(out, "From: ", mail->from);
	add_field(out, "To: ", mail->to);
	add_field(out, "Date: ", mail->date);
	buffer_text(out, TEXT("Message-ID: <"));
	add_line(out, mail->message_id);
	buffer_text(out, TEXT(">\n"
			      "Auto-Submitted: auto-generated\n" /* RFC 3834 */
			      "MIME-Version: 1.0\n"
			      "Content-Type: text/plain; charset=utf-8\n"
			      "Content-Transfer-Encoding: 8bit\n\n"));
}

static void add_notice(const struct notice *notice, struct buffer *out)
{
	size_t query = text_find(notice->url, '?');
	buffer_char(out, '\n');
	add_field(out, "Endpoint:      ", notice->endpoint);
	add_field(out, "Customer:      ", notice->customer);
	add_field(out, "URL:           ", query == SIZE_MAX ? notice->url : text_head(notice->url, query));
	add_field(out, "State:         ",
		  is_disabled(notice) ? TEXT("disabled: nothing is posted any more") : TEXT("failing: still tried"));
	if (notice->reason.len)
		add_field(out, "Reason:        ", notice->reason);
	if (notice->since.len)
		add_field(out, "Failing since: ", notice->since);
	buffer_format(out, "Failures:      %lld in a row\n", (long long)notice->failures);
	if (is_disabled(notice))
		buffer_format(
			out,
			"What it was owed is kept; what happens now is not owed to it, and this says how to have it:\n"
			"waybill endpoint resume %.*s\n",
			TEXT_ARG(notice->endpoint));
}

void notice_compose(const struct notice_mail *mail, const struct notice *notices, size_t count, struct buffer *out)
{
	add_subject(notices, count, out);
	add_header(mail, out);
	buffer_text(out,
		    TEXT("Events about your mail could not be posted to a webhook endpoint.\n"
			 "An endpoint that answers nothing but errors for five days is disabled; you are told after\n"
			 "1, 24 and 72 hours of it, and then.\n"));
	for (size_t i = 0; i < count; i++)
		add_notice(&notices[i], out);
	buffer_text(out, TEXT("\nWhat it answered: waybill endpoint log ENDPOINT --failed\n"));
}
