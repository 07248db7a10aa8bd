// Signs in with a token and shows the daemon's status as it is.
const status = document.getElementById("status");

async function show() {
  const response = await fetch("/v1/status");
  status.textContent = JSON.stringify(await response.json(), null, 2);
  document.getElementById("login").hidden = response.ok;
}

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = document.getElementById("token").value;
  const response = await fetch("/v1/session", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
  });
  if (response.ok) {
    await show();
  } else {
    status.textContent = (await response.json()).detail;
  }
});

show();
