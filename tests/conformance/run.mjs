// The public HTTP cache tests, every request sent through a peer of ours.
//
//   node run.mjs shared|private|shared-package|private-package PEER-COMMAND [OPTION-OF-SERVE...]
//
// A mode alone runs the cases of the package with what the suite's repository has changed since (newer.mjs).
//
// Starts the suite's own server and a peer, on ports that the system chooses, prints what passed, and
// compares what did not with the ledger. Ends with 1 when a case fails that the ledger does not name, and
// when it names one that passes.

import { spawn } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { newer } from './newer.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const require = createRequire(import.meta.url)
const suite = path.join(here, 'node_modules', 'http-cache-tests')
const suiteModule = file => import(pathToFileURL(path.join(suite, file)))

const [run, command, ...options] = process.argv.slice(2)
const ledgers = JSON.parse(fs.readFileSync(path.join(here, 'ledger.json'), 'utf8'))
if (!(run in ledgers) || command === undefined) {
  console.error(`usage: node run.mjs ${Object.keys(ledgers).join('|')} PEER-COMMAND [OPTION-OF-SERVE...]`)
  process.exit(2)
}
const ledger = ledgers[run]
const [mode, isOfPackage] = run.split('-')

const children = []
process.on('exit', () => children.forEach(child => child.kill()))

// Starts a child and waits for the line that says where it listens.
function start (program, words, options, listening) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'], ...options })
    children.push(child)
    let said = ''
    child.stdout.on('data', data => {
      said += data
      const found = listening.exec(said)
      if (found) resolve(found[1])
    })
    child.on('error', reject)
    child.on('exit', code => reject(new Error(`${program} ended with ${code}: ${said}`)))
  })
}

// The suite's server cannot choose its port itself.
function freePort () {
  return new Promise(resolve => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

const port = await freePort()
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'conformance-'))
process.on('exit', () => fs.rmSync(scratch, { recursive: true, force: true }))
await start(process.execPath, ['server/server.mjs'], {
  cwd: suite,
  env: {
    ...process.env,
    npm_config_protocol: 'http',
    npm_config_port: String(port),
    npm_config_pidfile: path.join(scratch, 'pid')
  }
}, /Listening on (\S+)/)
const peerWords = ['serve', '--listen', '127.0.0.1:0', '--mode', mode, ...options]
// The suite wants what the origin calls cacheable cached with its cookies; we do that by option alone.
if (mode === 'shared') peerWords.push('--store-set-cookie')
const peer = await start(command, peerWords, {}, /serving on (\S+)/)

const fetch = require('node-fetch')
// As a client of the crate, which knows the origin of a response: others get no cookies, and absolute URLs.
const throughPeer = (url, init = {}) => {
  const headers = Array.isArray(init.headers)
    ? [...init.headers, ['forwardcache', 'conformance']]
    : { ...init.headers, forwardcache: 'conformance' }
  return fetch(`${peer}/proxy?q=${encodeURIComponent(url)}`, { ...init, headers })
}

const { runTests, getResults } = await suiteModule('client/runner.mjs')
// Without the cases on Surrogate-Control, which no standard took up (RFC 9213 did it otherwise).
const packaged = (await suiteModule('tests/index.mjs')).default
const sets = isOfPackage ? packaged : newer(packaged)
await runTests(sets, throughPeer, mode === 'private', `http://localhost:${port}`)
const results = getResults()

const kinds = { required: [0, 0], optimal: [0, 0], check: [0, 0] }
const failures = []
for (const test of sets.flatMap(set => set.tests)) {
  const result = results[test.id]
  // What is about browsers alone in shared mode, or about proxies alone in private mode.
  if (result === undefined) continue
  const kind = test.kind ?? 'required'
  kinds[kind][1]++
  if (result === true) kinds[kind][0]++
  else failures.push({ kind, id: test.id, said: result.join(': ') })
}

console.log(`${mode} mode${isOfPackage ? ', the package as it is' : ''}`)
for (const [kind, [passed, all]] of Object.entries(kinds)) {
  console.log(`  ${kind.padEnd(8)} ${String(passed).padStart(3)} of ${all}`)
}
let wrong = 0
for (const { kind, id, said } of failures) {
  // A check asks what a cache does; there is no wrong answer.
  if (kind === 'check') {
    console.log(`  check    ${id}: ${said}`)
  } else if (id in ledger) {
    console.log(`  accepted ${id}: ${ledger[id]}`)
  } else {
    console.log(`  FAILED   ${id} (${kind}): ${said}`)
    wrong++
  }
}
for (const id of Object.keys(ledger)) {
  if (results[id] === true || results[id] === undefined) {
    console.log(`  FAILED   ${id} is in the ledger, and ${results[id] ? 'passes' : 'was not run'}`)
    wrong++
  }
}
process.exit(wrong === 0 ? 0 : 1)
