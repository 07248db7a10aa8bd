# frozen_string_literal: true

# Runs commands as OpenNebula's onehem-server has Ruby run them, to compare hem with: one line for Open3.popen3, a process
# group of its own, the arguments on standard input where they are wanted there.
#
#     ruby open3.rb < ORDER
#
# ORDER is JSON: `document`, the event; `folder`, where relative commands are; `hooks`, a list of objects with `command`,
# `arguments`, `stdin` and `timeout`. It prints a list of objects with `code`, `command`, `arguments`, `stdout` and
# `stderr`, the last two in base64.

require 'base64'
require 'json'
require 'nokogiri'
require 'open3'
require 'timeout'

# The words of ARGUMENTS with the event's element in the place of `$API` or `$TEMPLATE`, laid out by libxml2.
def arguments(text, event)
  api = event.at_xpath('/HOOK_MESSAGE/HOOK_TYPE').text == 'API'
  path = api ? '//CALL_INFO' : "//#{event.at_xpath('//HOOK_OBJECT').text.sub(/\ANET\z/, 'VNET')}"
  element = Base64.strict_encode64(event.at_xpath(path).to_s)
  given = { '$API' => api ? element : '', '$TEMPLATE' => api ? '' : element }
  text.split(' ').map { |word| given.fetch(word, word) }.join(' ').strip
end

def outcome(line, input, limit)
  Open3.popen3(line, :pgroup => true) do |stdin, stdout, stderr, process|
    readers = [stdout, stderr].map { |pipe| Thread.new { pipe.read } }
    begin
      stdin.write(input)
      stdin.close
    rescue Errno::EPIPE
      nil
    end
    unless process.join(limit.positive? ? limit : nil)
      Process.kill('TERM', -process.pid)
      process.join
      readers.each(&:kill)
      return [255, '', "Timeout executing #{line}"]
    end
    [process.value.exited? ? process.value.exitstatus : 255, *readers.map(&:value)]
  end
rescue StandardError => e
  [255, '', "Internal error #{e}"]
end

order = JSON.parse($stdin.read)
event = Nokogiri::XML(order['document'])
answers = order['hooks'].map do |hook|
  given = arguments(hook['arguments'] || '', event)
  line = hook['command'].dup
  line.prepend("#{order['folder']}/") unless line.start_with?('/')
  line << " #{given}" unless hook['stdin'] || given.empty?
  code, stdout, stderr = outcome(line, hook['stdin'] ? given : '', hook['timeout'].to_i)
  { :code => code, :command => line, :arguments => given,
    :stdout => Base64.strict_encode64(stdout), :stderr => Base64.strict_encode64(stderr) }
end
puts JSON.generate(answers)
