#ifndef COMMON_RULES_CONF_H
#define COMMON_RULES_CONF_H

#include "common/conf.h"

/* The setting that the bouncer and the command line share, so that both judge alike; TYPE has a field char *rules. */
#define RULES_ROW(type)                                                                                          \
	{                                                                                                        \
		"bouncer", "rules", CONF_PATH, offsetof(type, rules), "", 0, 0, NULL, true,                      \
			"The rules by which bounces are judged, a file or a folder of *.rules; when empty, the " \
			"built-in ones."                                                                         \
	}

#endif
