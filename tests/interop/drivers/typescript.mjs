// @modelcontextprotocol/client in the era its row names: "legacy", or "auto", which finds the newest.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { ANSWER, ASK, ECHO, SLOW, headers, report, textOf, url, words } from "./steps.mjs";

const client = new Client(
  { name: "interop", version: "1" },
  { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode: words[0] } },
);
client.setRequestHandler("elicitation/create", async () => ANSWER);
const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers } });
await client.connect(transport);
const heard = [];
await report({
  revision: async () => client.getNegotiatedProtocolVersion(),
  tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
  call: async () => textOf(await client.callTool(ECHO)),
  progress: async () => {
    await client.callTool(SLOW, { onprogress: (note) => heard.push(note.progress) });
    return heard;
  },
  elicitation: async () => textOf(await client.callTool(ASK)),
});
await client.close();
