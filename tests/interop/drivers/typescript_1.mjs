// @modelcontextprotocol/sdk 1, which most clients in JavaScript are still made with.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { ANSWER, ASK, ECHO, SLOW, headers, report, textOf, url } from "./steps.mjs";

const client = new Client({ name: "interop", version: "1" }, { capabilities: { elicitation: {} } });
client.setRequestHandler(ElicitRequestSchema, async () => ANSWER);
const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers } });
await client.connect(transport);
const heard = [];
await report({
  revision: async () => transport.protocolVersion,
  tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
  call: async () => textOf(await client.callTool(ECHO)),
  progress: async () => {
    await client.callTool(SLOW, undefined, { onprogress: (note) => heard.push(note.progress) });
    return heard;
  },
  elicitation: async () => textOf(await client.callTool(ASK)),
});
await client.close();
