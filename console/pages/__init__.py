"""The web console under /console/: is this file current, and why not?

    app        the pages put together, from parts that the caller made
    kit        what every page stands on: who is asking, the ledger in a thread, templates, errors
    sessions   who is signed in;  attempts  how often somebody may try
    sign_in, overview, receipts, refused, files, queues, actions   the pages, one module each
    charts, timeline   pictures as inline SVG, made of numbers alone
    words      times, lengths and decisions as people read them

It runs inside the receiver's process, but for its own few connections and threads: whatever a page asks, batches never
wait for it. Readers look; operators act, and each action leaves a row.
"""
