#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "common/seal.h"
#include "ctl/cmd.h"
#include "ctl/command.h"
#include "ctl/output.h"

/* An existing key is never overwritten: what was sealed under it would be lost. */
static int make(const char *path, const char *what, struct output *output)
{
	const char *state = "made";
	if (seal_create(path)) {
		if (errno != EEXIST)
			return complain(errno == EACCES ? EX_NOPERM : EX_CANTCREAT,
					"run this as root, or set the path in [ctl]",
					"%s: the key for %s cannot be made: %s", path, what, strerror(errno));
		state = "kept";
	}
	output_row(output, json_pack("{s:s, s:s, s:s}", "file", path, "for", what, "state", state));
	return 0;
}

int cmd_seal_init(struct ctl *ctl)
{
	struct output *output = output_new(OUTPUT_LIST, ctl->json);
	int status = make(ctl->settings.seal_key, "DKIM keys", output);
	if (!status)
		status = make(ctl->settings.webhook_key, "webhook secrets", output);
	output_end(&output, NULL);
	if (!status)
		remark("back the files up apart from the database; the milter's account must be able to read %s, "
		       "webhookd's %s",
		       ctl->settings.seal_key, ctl->settings.webhook_key);
	return status;
}
