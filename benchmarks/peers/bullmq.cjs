// BullMQ's debounce: jobs for each key in turn, so many at once; which were run, and with what.
//   REDIS_URL=… node bullmq.cjs KEYS SAVES DELAY_MS AT_ONCE
'use strict'
const { Queue, Worker } = require('bullmq')

const [keys, saves, delay, atOnce] = process.argv.slice(2).map(Number)
const url = new URL(process.env.REDIS_URL)
const connection = {
  host: url.hostname,
  port: Number(url.port),
  password: decodeURIComponent(url.password) || undefined,
  db: 1,
  maxRetriesPerRequest: null,
}
const seconds = () => Number(process.hrtime.bigint()) / 1e9

async function main() {
  const queue = new Queue('burst', { connection })
  await queue.obliterate({ force: true })
  const last = new Map()
  let runs = 0
  let ranAt = 0
  const worker = new Worker(
    'burst',
    async (job) => {
      runs += 1
      ranAt = seconds()
      last.set(job.data.key, job.data.save)
    },
    { connection, concurrency: 8 },
  )
  await worker.waitUntilReady()
  const began = seconds()
  for (let next = 0; next < keys * saves; next += atOnce) {
    const batch = []
    for (let each = next; each < Math.min(next + atOnce, keys * saves); each += 1) {
      const key = each % keys
      const data = { key, save: Math.floor(each / keys) }
      const deduplication = { id: `file-${key}`, ttl: delay, extend: true, replace: true }
      batch.push(queue.add('hydrate', data, { delay, deduplication, removeOnComplete: true }))
    }
    await Promise.all(batch)
  }
  const added = seconds()
  while (last.size < keys || seconds() - Math.max(added, ranAt) < (3 * delay) / 1000) {
    if (seconds() - added > 60) throw new Error('not all keys were run within a minute')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await worker.close()
  await queue.close()
  const adding = added - began
  console.log(JSON.stringify({ runs, adding_s: adding, running_s: ranAt - added, last: [...last.values()] }))
}

main()
