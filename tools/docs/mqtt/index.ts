import { mosquittoAcl } from './acl.js';
import { asyncApiYaml } from './asyncapi.js';
import { mqttMarkdown } from './markdown.js';

/** The files that are made from the contract, by their path in the project. */
export function mqttDocuments(): Record<string, string> {
  return {
    'docs/mqtt.md': mqttMarkdown(),
    'docs/asyncapi.yaml': asyncApiYaml(),
    'config/examples/mosquitto.acl': mosquittoAcl(),
  };
}
