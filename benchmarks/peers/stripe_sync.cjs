// stripe-sync-engine behind Fastify, as its own server has it: one event a request, verified, upserted, answered.
//   node stripe_sync.cjs DATABASE_URL PORT CONNECTIONS PROCESSES
// Its CommonJS build: the other finishes its migrations without having made a table.
'use strict'
const cluster = require('node:cluster')
const fastify = require('fastify')
const { StripeSync, runMigrations } = require('@supabase/stripe-sync-engine')

const [databaseUrl, port, connections, processes] = process.argv.slice(2)

async function serve() {
  const sync = new StripeSync({
    poolConfig: { connectionString: databaseUrl, max: Number(connections) },
    schema: 'stripe',
    stripeSecretKey: 'sk_test_none',
    stripeWebhookSecret: process.env.WEBHOOK_SECRET,
    autoExpandLists: false,
  })
  const app = fastify({ logger: false })
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_, body, done) => done(null, body))
  app.post('/webhooks', async (request, reply) => {
    await sync.processWebhook(request.body, request.headers['stripe-signature'])
    return reply.send({ received: true })
  })
  app.get('/health', async () => ({ ok: true }))
  await app.listen({ host: '127.0.0.1', port: Number(port) })
}

async function main() {
  if (cluster.isPrimary) await runMigrations({ databaseUrl, schema: 'stripe' })
  if (cluster.isWorker || Number(processes) === 1) return serve()
  for (let count = 0; count < Number(processes); count += 1) cluster.fork()
  process.on('SIGTERM', () => process.exit(0))
}

main()
