#!/bin/sh
# conf-page.sh FOLDER PAGE PROGRAMS SECTION:PROGRAM…    writes waybill.conf(5): head, each section as its program tells it, foot
set -eu
folder=$1 page=$2 programs=$3
shift 3
{
	cat "$folder/waybill.conf.5.head"
	for pair; do
		printf '.Ss [%s]\n.Bl -tag -width Ds\n' "${pair%%:*}"
		"$programs/${pair##*:}" --manual "${pair%%:*}"
		printf '.El\n'
	done
	cat "$folder/waybill.conf.5.foot"
} >"$page.new"
mv "$page.new" "$page"
