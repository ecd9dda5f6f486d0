// GET ?name= greets, POST {"numbers":[…]} adds.
addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  if (request.method === "POST") {
    const { numbers } = await request.json();
    return Response.json({ sum: numbers.reduce((sum, number) => sum + number, 0) });
  }
  const name = new URL(request.url).searchParams.get("name") ?? "nobody";
  return new Response(`hello ${name}\n`);
}
