#include "ctl/dmarc.h"
#include "ctl/dkim_record.h"

const char *const dmarc_policy_names[DMARC_POLICY_MAX] = {"none", "quarantine", "reject"};

bool dmarc_is_record(struct text record)
{
	struct text version, rest = record;
	return text_take(&rest, ';', &version) &&
	       text_equal(text_trim(text_head(version, text_find(version, '='))), TEXT("v")) &&
	       text_equal(text_trim(text_from(version, text_find(version, '=') + 1)), TEXT("DMARC1"));
}

static const char *parse_policy(struct text value, enum dmarc_policy *out)
{
	for (int i = 0; i < DMARC_POLICY_MAX; i++) {
		if (!text_equal_fold(value, text_of(dmarc_policy_names[i])))
			continue;
		*out = (enum dmarc_policy)i;
		return NULL;
	}
	return "its policy is none of none, quarantine, reject";
}

static bool is_strict(struct text record, struct text tag)
{
	struct text value;
	return dkim_tag(record, tag, &value) && text_equal_fold(value, TEXT("s"));
}

const char *dmarc_parse(struct text record, struct dmarc *out)
{
	struct text value;
	*out = (struct dmarc){.percent = 100};
	if (!dmarc_is_record(record))
		return "it does not begin with v=DMARC1";
	if (!dkim_tag(record, TEXT("p"), &value))
		return "its policy (p=) is missing";
	const char *why = parse_policy(value, &out->policy);
	out->subdomains = out->policy;
	if (!why && dkim_tag(record, TEXT("sp"), &value))
		why = parse_policy(value, &out->subdomains);
	if (!why && dkim_tag(record, TEXT("pct"), &value))
		why = text_uint(value, 100, &out->percent);
	out->strict_dkim = is_strict(record, TEXT("adkim"));
	out->strict_spf = is_strict(record, TEXT("aspf"));
	out->reports = dkim_tag(record, TEXT("rua"), &value) && value.len;
	if (dkim_tag(record, TEXT("psd"), &value)) {
		out->public_suffix = text_equal_fold(value, TEXT("y"));
		out->organisation = text_equal_fold(value, TEXT("n"));
	}
	return why;
}

bool dmarc_aligned(struct text a, struct text a_organisation, struct text b, struct text b_organisation, bool strict)
{
	return text_equal_fold(a, b) || (!strict && text_equal_fold(a_organisation, b_organisation));
}

const char *dmarc_next_step(const struct dmarc *dmarc)
{
	if (!dmarc->reports)
		return "add rua=mailto:ADDRESS: without reports nobody sees what fails";
	if (dmarc->policy == DMARC_NONE)
		return "when two to four weeks of reports show nothing of yours failing, go to p=quarantine";
	if (dmarc->percent < 100)
		return "raise pct step by step to 100";
	if (dmarc->policy == DMARC_QUARANTINE)
		return "when two more weeks of reports show nothing of yours failing, go to p=reject";
	return "";
}
