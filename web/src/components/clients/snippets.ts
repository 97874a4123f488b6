/** Ready-made code for clients: what is pasted works as it stands. */

export interface Access {
  /** Where the gateway is, without a slash at the end. */
  origin: string
  token: string
  model: string
}

export interface Snippet {
  id: string
  title: string
  /** How to get the library; absent where nothing is needed. */
  install?: string
  code: string
}

const PROMPT = 'Say hello in three languages.'

export function sdkSnippets({ origin, token, model }: Access): Snippet[] {
  return [
    {
      id: 'curl',
      title: 'curl',
      code: `curl ${origin}/v1/chat/completions \\
  -H "Authorization: Bearer ${token}" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "${model}", "messages": [{"role": "user", "content": "${PROMPT}"}]}'`,
    },
    {
      id: 'openai-python',
      title: 'OpenAI · Python',
      install: 'pip install openai',
      code: `from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key="${token}")
answer = client.chat.completions.create(
    model="${model}",
    messages=[{"role": "user", "content": "${PROMPT}"}],
)
print(answer.choices[0].message.content)`,
    },
    {
      id: 'openai-node',
      title: 'OpenAI · Node',
      install: 'npm install openai',
      code: `import OpenAI from 'openai'

const client = new OpenAI({ baseURL: '${origin}/v1', apiKey: '${token}' })
const answer = await client.chat.completions.create({
  model: '${model}',
  messages: [{ role: 'user', content: '${PROMPT}' }],
})
console.log(answer.choices[0].message.content)`,
    },
    {
      id: 'anthropic-python',
      title: 'Anthropic · Python',
      install: 'pip install anthropic',
      code: `from anthropic import Anthropic

client = Anthropic(base_url="${origin}/anthropic", api_key="${token}")
answer = client.messages.create(
    model="${model}",
    max_tokens=1024,
    messages=[{"role": "user", "content": "${PROMPT}"}],
)
print(answer.content[-1].text)`,
    },
    {
      id: 'anthropic-node',
      title: 'Anthropic · Node',
      install: 'npm install @anthropic-ai/sdk',
      code: `import Anthropic from '@anthropic-ai/sdk'

const client = new Anthropic({ baseURL: '${origin}/anthropic', apiKey: '${token}' })
const answer = await client.messages.create({
  model: '${model}',
  max_tokens: 1024,
  messages: [{ role: 'user', content: '${PROMPT}' }],
})
console.log(answer.content.at(-1).text)`,
    },
    {
      id: 'genai-python',
      title: 'Google GenAI · Python',
      install: 'pip install google-genai',
      code: `from google import genai

client = genai.Client(api_key="${token}", http_options={"base_url": "${origin}"})
answer = client.models.generate_content(model="${model}", contents="${PROMPT}")
print(answer.text)`,
    },
    {
      id: 'genai-js',
      title: 'Google GenAI · JavaScript',
      install: 'npm install @google/genai',
      code: `import { GoogleGenAI } from '@google/genai'

const client = new GoogleGenAI({ apiKey: '${token}', httpOptions: { baseUrl: '${origin}' } })
const answer = await client.models.generateContent({ model: '${model}', contents: '${PROMPT}' })
console.log(answer.text)`,
    },
  ]
}

/** Coding agents, by what goes into a shell or a file. */
export function agentSnippets({ origin, token, model }: Access): Snippet[] {
  return [
    {
      id: 'claude-code',
      title: 'Claude Code',
      code: `export ANTHROPIC_BASE_URL="${origin}/anthropic"
export ANTHROPIC_AUTH_TOKEN="${token}"
export ANTHROPIC_MODEL="${model}"
export ANTHROPIC_DEFAULT_HAIKU_MODEL="${model}"
claude`,
    },
    {
      id: 'gemini-cli',
      title: 'Gemini CLI',
      code: `export GOOGLE_GEMINI_BASE_URL="${origin}"
export GEMINI_API_KEY="${token}"
gemini --model ${model}`,
    },
    {
      id: 'codex',
      title: 'Codex CLI',
      code: `# ~/.codex/config.toml; then: export GEMINI_BALANCE_TOKEN="${token}"
model = "${model}"
model_provider = "gemini-balance"

[model_providers.gemini-balance]
name = "Gemini Balance"
base_url = "${origin}/v1"
env_key = "GEMINI_BALANCE_TOKEN"
wire_api = "responses"`,
    },
    {
      id: 'aider',
      title: 'Aider',
      code: `export OPENAI_API_BASE="${origin}/v1"
export OPENAI_API_KEY="${token}"
aider --model openai/${model}`,
    },
    {
      id: 'continue',
      title: 'Continue',
      code: `# ~/.continue/config.yaml
models:
  - name: ${model}
    provider: openai
    model: ${model}
    apiBase: ${origin}/v1
    apiKey: ${token}`,
    },
    {
      id: 'opencode',
      title: 'opencode',
      code: JSON.stringify(
        {
          provider: {
            'gemini-balance': {
              npm: '@ai-sdk/openai-compatible',
              options: { baseURL: `${origin}/v1`, apiKey: token },
              models: { [model]: {} },
            },
          },
        },
        null,
        2,
      ),
    },
  ]
}

export interface App {
  name: string
  /** The kind of provider to choose there. */
  provider: 'OpenAI' | 'Anthropic' | 'Gemini'
  baseUrl: string
}

/** Chat clients, by what goes into the field for the address; some add the version themselves. */
export function apps(origin: string): App[] {
  const openai = (name: string, path = '/v1'): App => ({ name, provider: 'OpenAI', baseUrl: origin + path })
  return [
    openai('Cherry Studio', ''),
    openai('Chatbox'),
    openai('Cline'),
    openai('LibreChat'),
    openai('LobeChat'),
    openai('NextChat', ''),
    openai('Open WebUI'),
    openai('Roo Code'),
    openai('SillyTavern'),
    openai('Zed'),
    { name: 'Anthropic SDKs', provider: 'Anthropic', baseUrl: `${origin}/anthropic` },
    { name: 'Google GenAI SDKs', provider: 'Gemini', baseUrl: origin },
  ]
}
