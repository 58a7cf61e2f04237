// Verifies webhooks with npm's standardwebhooks: a line of JSON in, {"id", "timestamp", "signature", "body" (base64),
// "secret"}, a line of JSON out, {"verified"} or {"verified": false, "error"}. The package's folder is the argument.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { Webhook } = createRequire(`${process.argv[2]}/`)("standardwebhooks");

function verify({ id, timestamp, signature, body, secret }) {
	const headers = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
	try {
		new Webhook(secret).verify(Buffer.from(body, "base64").toString("utf8"), headers);
		return { verified: true };
	} catch (error) {
		return { verified: false, error: error.message };
	}
}

for await (const line of createInterface({ input: process.stdin })) {
	process.stdout.write(JSON.stringify(verify(JSON.parse(line))) + "\n");
}
